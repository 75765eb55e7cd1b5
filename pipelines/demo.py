"""`lesion demo`: the main job, end to end, on lesions that the phantom generator makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lesioncore.flags import Command, parse_config
from lesioncore.progress import log
from pipelines.run import run

if TYPE_CHECKING:
    from pipelines.config import DemoConfig, RunConfig


def demo(config: DemoConfig) -> None:
    """Run every step on phantoms with the preset `demo`, and say where the report lies."""
    log.info(
        "%d synthetic lesions, both stages, %s: a few minutes on two cores", config.n, config.out
    )
    run(demo_run(config))
    if not config.dry_run:
        print(f"Open {(config.out / 'report.html').absolute()} in a browser.")


def demo_run(config: DemoConfig) -> RunConfig:
    """Return the run that the demo is."""
    from pipelines.config import RunConfig

    flags = {
        "preset": "demo",
        "dataset": "phantom",
        "root": config.out / "phantoms",
        "n": config.n,
        "out": config.out,
        "seed": config.seed,
        "device": config.device,
        "precision": config.precision,
        "workers": config.workers,
    }
    command = Command(RunConfig, "", "demo", presets="pipelines.presets")
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    arguments += [f"--force={step}" for step in config.force]
    made: RunConfig = parse_config(
        "lesion demo", command, arguments + ["--dry-run"] * config.dry_run
    )
    return made
