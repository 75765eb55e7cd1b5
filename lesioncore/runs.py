"""Run folders: what a training leaves behind, and how it finds itself again after a kill."""

from __future__ import annotations

import dataclasses
import datetime
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lesioncore.errors import LesionError
from lesioncore.files import PathLike, read_json, write_json, write_text, writing_to
from lesioncore.progress import log

RUN_SCHEMA = 1
#: Of a member's folder: its validation images; the last file written, with it the member is done.
VALIDATION = "validation.csv"
#: Of the run's folder: all of them, each by the member that did not see it.
OUT_OF_FOLD = "oof.csv"

# What a run may change when it is taken up again: it does not alter what is learnt.
FREE_FIELDS = frozenset({"device", "precision", "workers", "out"})


@dataclass
class Run:
    """A folder ``runs/NAME``: ``run.json``, ``config.yaml``, ``split.csv``, ``member-K/``, scores.

    Attributes
    ----------
    folder : Path
        Where it lies.
    record : dict
        What ``run.json`` says: kind, schema_version, tool_version, config, members, complete.
    """

    folder: Path
    record: dict[str, Any]

    @classmethod
    def open(cls, folder: PathLike, kind: str, config: Any) -> Run:
        """Create the run, or take it up again when its config is the same.

        Parameters
        ----------
        folder : path
            Created when missing.
        kind : str
            "segstage" or "clsstage".
        config : dataclass
            The resolved config; kept as ``config.yaml``, usable with ``--config``.

        Raises
        ------
        LesionError
            The folder holds something else, or a run with another config (the fields are named).
        """
        home = Path(folder)
        plain = plain_config(config)
        if (home / "run.json").is_file():
            run = cls.load(home, kind, complete=False)
            # A run of an older version lacks options that came later: they had their defaults.
            differing = config_differences(_defaults(config) | run.record["config"], plain)
            if differing:
                raise LesionError(
                    f"{home} holds a run of another config: {'; '.join(differing)}",
                    wanted="the same config, to go on with that run",
                    mend=f"choose another --out, or remove {home}",
                )
            return run
        if home.is_dir() and any(home.iterdir()):
            raise LesionError(
                f"{home} is not empty and holds no run",
                wanted="an empty or a new folder",
                mend="choose another --out",
            )
        with writing_to(home):
            home.mkdir(parents=True, exist_ok=True)
        record = {
            "kind": kind,
            "schema_version": RUN_SCHEMA,
            "tool_version": tool_version(),
            "created": now(),
            "config": plain,
            "members": None,
            "complete": False,
        }
        # The config first: a folder with run.json is a run, whatever happened after.
        write_text(home / "config.yaml", _as_yaml(plain))
        write_json(home / "run.json", record)
        return cls(home, record)

    @classmethod
    def load(cls, folder: PathLike, kind: str, *, complete: bool = True) -> Run:
        """Return the run in `folder`.

        Raises
        ------
        LesionError
            No run, one of the other stage, or one that has not finished (with ``complete``).
        """
        home = Path(folder)
        program = f"{kind} train"
        if not (home / "run.json").is_file():
            raise LesionError(
                f"no run in {home}", wanted=f"a folder made by `{program}`", mend=f"{program} ..."
            )
        record = read_json(home / "run.json")
        if not isinstance(record, dict) or record.get("kind") != kind:
            found = record.get("kind") if isinstance(record, dict) else type(record).__name__
            raise LesionError(
                f"{home} is a run of {found!r}", wanted=f"a run of {kind!r}", mend=f"{program} ..."
            )
        if record.get("schema_version", 0) > RUN_SCHEMA:
            raise LesionError(
                f"{home} was made by a newer version ({record.get('tool_version')})",
                mend="upgrade lesion-pipeline",
            )
        if complete and not record.get("complete"):
            raise LesionError(
                f"the run in {home} has not finished",
                wanted="a complete run",
                mend=f"{program} --config {home / 'config.yaml'}",
            )
        return cls(home, record)

    @property
    def complete(self) -> bool:
        """Whether every member was trained and scored."""
        return bool(self.record["complete"])

    @property
    def members(self) -> int:
        """How many members the run has (0 before it is known)."""
        return int(self.record.get("members") or 0)

    def member(self, number: int) -> Path:
        """Return the folder of a member; it is made when missing."""
        path = self.folder / f"member-{number}"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def path(self, name: str) -> Path:
        """Return the path of a file of the run."""
        return self.folder / name

    def update(self, **changes: Any) -> None:
        """Change the record on disk."""
        self.record |= changes
        write_json(self.folder / "run.json", self.record)

    def finish(self, **changes: Any) -> None:
        """Mark the run complete; the last thing written."""
        self.update(**changes, complete=True, finished=now())
        log.info("finished %s", self.folder)


def plain_config(config: Any) -> dict[str, Any]:
    """Return a config dataclass as JSON-ready values; paths become absolute."""

    def plain(value: Any) -> Any:
        if isinstance(value, os.PathLike):
            return str(Path(value).absolute())
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [plain(item) for item in value]
        return value

    return {key: plain(value) for key, value in dataclasses.asdict(config).items()}


def _defaults(config: Any) -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(config):
        if isinstance(field.default, str | int | float | bool | None):
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory()
    return found


def config_differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return the fields that matter and differ, each as ``name: old -> new``."""
    return [
        f"{key}: {old.get(key)!r} -> {new.get(key)!r}"
        for key in sorted(old.keys() | new.keys())
        if key not in FREE_FIELDS and old.get(key) != new.get(key)
    ]


def tool_version() -> str:
    """Return the installed version of lesion-pipeline ("0+unknown" in a bare checkout)."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("lesion-pipeline")
    except PackageNotFoundError:
        return "0+unknown"


def now() -> str:
    """Return the time, UTC, to the second, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _as_yaml(value: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
