"""`lesion cache info | verify | merge`: what caches hold, whether it is sound, several into one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lesioncore.progress import log, track
from pipelines.cache_config import CacheInfoConfig, CacheMergeConfig, CacheVerifyConfig


def info(config: CacheInfoConfig) -> int:
    """Print what each cache holds; returns the exit code."""
    facts = [cache_facts(folder) for folder in config.caches]
    if config.json:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        print("\n\n".join(_as_text(fact) for fact in facts))
    return 0


def verify(config: CacheVerifyConfig) -> int:
    """Print what is wrong with each cache; returns 1 when anything is."""
    from lesioncore.cache import verify_cache

    problems = {
        str(folder): verify_cache(folder, quick=config.quick, track=_bar)
        for folder in config.caches
    }
    if config.json:
        print(json.dumps(problems, indent=2, ensure_ascii=False))
    else:
        for folder, lines in problems.items():
            print(f"{folder}: {f'{len(lines)} problems' if lines else 'sound'}")
            for line in lines:
                print(f"  {line}")
    damaged = sorted({line.split(":")[0] for lines in problems.values() for line in lines})
    if any(name.startswith("shard-") for name in damaged):
        log.info(
            "to mend: delete the shards named above and give the same `segstage cache` command "
            "again; it redoes only what was in them"
        )
    return 1 if any(problems.values()) else 0


def merge(config: CacheMergeConfig) -> int:
    """Merge caches into `config.out`; returns the exit code."""
    from lesioncore.cache import merge_caches

    cache = merge_caches(config.caches, config.out, track=_bar)
    log.info("%s: %d masks of %d caches", config.out, len(cache), len(config.caches))
    if not cache.complete:
        log.warning("the merged cache is not complete, since a source is not")
    return 0


def cache_facts(folder: Path) -> dict[str, Any]:
    """Return what a cache holds, as plain values."""
    from lesioncore.cache import MaskCache
    from lesioncore.cache.journal import JOURNAL, read_journal
    from lesioncore.cache.measured import measured_counts

    cache = MaskCache(folder)
    size = sum(file.path.stat().st_size for file in cache.files)
    return {
        "folder": str(folder),
        "complete": cache.complete,
        "masks": len(cache),
        "counts": cache.counts,
        "in_journal": len(read_journal(Path(folder) / JOURNAL)[1]),
        "encoding": cache.encoding,
        "files": len(cache.files),
        "bytes": size,
        "bytes_per_mask": round(size / max(1, len(cache)), 1),
        "measured": measured_counts(cache),
        "quality_models": cache.quality_models,
        "snapshot": cache.snapshot,
        "fingerprint": cache.fingerprint,
    }


def _as_text(facts: dict[str, Any]) -> str:
    counts = ", ".join(f"{number} {status}" for status, number in facts["counts"].items())
    lines = [
        f"{facts['folder']}: {facts['masks']} masks ({counts or 'none'})",
        f"  complete     {'yes' if facts['complete'] else 'no'}",
        f"  encoding     {facts['encoding']}",
        f"  size         {facts['bytes'] / 2**20:.1f} MiB in {facts['files']} files, "
        f"{facts['bytes_per_mask']:.0f} bytes a mask",
        f"  snapshot     {facts['snapshot'][:16]}",
    ]
    if facts["in_journal"]:
        lines.append(f"  journal      {facts['in_journal']} masks, until the run goes on")
    if facts["measured"]:
        stale = facts["measured"]["stale"]
        more = f" ({stale} rows are of masks that changed since)" if stale else ""
        lines.append(f"  measured     {facts['measured']['masks']} masks{more}")
    judged = [f"{one['sha256'][:16]} (version {one['version']})" for one in facts["quality_models"]]
    lines.append(f"  quality      {', '.join(judged) or 'not computed'}")
    lines.append("  fingerprint")
    lines += [f"    {name} = {json.dumps(value)}" for name, value in _dotted(facts["fingerprint"])]
    return "\n".join(lines)


def _dotted(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _dotted(inner, f"{prefix}.{key}" if prefix else key)
    else:
        yield prefix, value


def _bar(files: Iterable[Path], description: str) -> Iterator[Path]:
    return track(files, description)
