"""`lesion synthesize`: labelled malignant images for the training of one fold, and their checks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from lesioncore.progress import log, track
from pipelines.synthesis import generated, transplant
from pipelines.synthesis.folder import Drawn, Item, SynthesisFolder
from pipelines.synthesis.material import Material, load_material

if TYPE_CHECKING:
    from pipelines.synthesis_config import SynthesizeConfig


def synthesize(config: SynthesizeConfig) -> int:
    """Make `config.n` images in `config.out`; a killed or repeated call goes on there.

    Returns
    -------
    int
        1 when more than `config.max_failed` images could not be made, else 0.

    Raises
    ------
    LesionError
        No donors, no trusted masks, the split of another archive, a folder of something else.
    """
    from lesioncore.synthetic import LEARNED
    from pipelines.synthesis.features import FeatureNetwork
    from pipelines.synthesis.report import check_images, write_report, write_sheet

    material = load_material(config)
    maker = _maker(config, material)
    # Before hours of work: what the checks need must be there.
    network = FeatureNetwork(config.feature_weights, config.device)
    suffix = ".jpg" if config.method == "transplant" else ".png"
    folder = SynthesisFolder(config.out, _settings(config, material), suffix)
    missing = [number for number in range(config.n) if number not in folder.items]
    if len(missing) < config.n:
        log.info("going on: %d of %d images are made", config.n - len(missing), config.n)
    if missing:
        for drawn in track(maker(missing), "making images", len(missing)):
            folder.add(drawn)
    made = folder.made(config.n)
    figures: dict[str, Any] = {}
    kept: list[Item] = []
    nearest: list[str] = []
    if made:
        figures, near, ids = check_images(config, material, folder, made, network)
        kept = [item for item, copy in zip(made, near.copies, strict=True) if not copy]
        nearest = [ids[at] for at, copy in zip(near.nearest, near.copies, strict=True) if not copy]
    report = write_report(config, material, folder, figures)
    learned = LEARNED if config.method == "generate" else None
    folder.write_manifest(kept, material.rows, config.method, learned)
    write_sheet(config, material, folder, kept, nearest)
    folder.finish(counts=report["counts"])
    counts = report["counts"]
    log.info("%s: %s", config.out, ", ".join(f"{count} {name}" for name, count in counts.items()))
    print(config.out / "summary.md")
    if counts["failed"] > config.max_failed:
        log.error(
            "%d images could not be made, %d are allowed (--max-failed)",
            counts["failed"],
            config.max_failed,
        )
        return 1
    return 0


def _maker(config: SynthesizeConfig, material: Material) -> Any:
    """Return what makes the images of a list of numbers; what cannot work is refused here."""
    if config.method == "transplant":
        from pipelines.synthesis.transplants import check_parents, draw_transplants

        check_parents(material)

        def made(numbers: list[int]) -> Iterator[Drawn]:
            return draw_transplants(material, numbers, config.seed, config.workers)

        return made
    from pipelines.synthesis.diffusion import check_diffusers

    check_diffusers()
    generator = generated.LesionGenerator(material, config)
    return lambda numbers: generator.draw(generator.train(), numbers)


def _settings(config: SynthesizeConfig, material: Material) -> dict[str, Any]:
    """Return all that decides the images; `n` and `out` do not."""
    settings: dict[str, Any] = {
        "method": config.method,
        "version": transplant.VERSION if config.method == "transplant" else generated.VERSION,
        "dataset": config.dataset,
        "fold": config.fold,
        "seed": config.seed,
        "policy": material.policy,
        "min_quality": config.min_quality,
        "training images": material.digest,
        "masks": material.masks,
    }
    if config.method == "generate":
        for name in ("size", "epochs", "batch_size", "lr"):
            settings[name] = getattr(config, name)
    return settings
