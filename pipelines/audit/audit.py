"""`lesion audit`: every check over one data set, a page for people and a file for programs."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from lesioncore.files import write_json, write_text
from lesioncore.progress import log
from lesioncore.runs import now, tool_version
from pipelines.audit.check import Check, chosen_checks
from pipelines.audit.data import AuditData, load_audit_data
from pipelines.audit.finding import LEVELS, Finding
from pipelines.audit.leave_out import write_leave_out
from pipelines.audit.page import audit_page
from pipelines.audit_config import AuditConfig

SCHEMA = 1
_SIGNS = {"error": "ERROR  ", "warning": "warning", "note": "note   ", "ok": "ok     "}

Results = list[tuple[Check, list[Finding]]]


def audit(config: AuditConfig) -> int:
    """Write `audit.json` and `audit.html`, print the findings; return 1 when one is an error.

    Raises
    ------
    LesionError
        The data cannot be read. What is wrong with them is a finding, no error of the command.
    """
    checks = chosen_checks(config.only, config.skip)
    data = load_audit_data(config, faces=any(check.name == "faces" for check in checks))
    results: Results = []
    for check in checks:
        log.info("checking: %s", check.title.lower())
        results.append((check, _accepted(list(check.findings(data)), config.allow)))
    lists = [one for name in config.leave_out for one in write_leave_out(data, name, config.out)]
    _tell_unused(results, config.allow)
    summary = summarise(data, results, lists)
    write_json(config.out / "audit.json", summary)
    write_text(config.out / "audit.html", audit_page(data, results, summary))
    print("\n".join(text_lines(results, summary)))
    log.info("written: %s and audit.json", config.out / "audit.html")
    return int(summary["levels"]["error"] > 0)


def summarise(data: AuditData, results: Results, lists: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the content of `audit.json`."""
    findings = [one for _, found in results for one in found]
    counts = Counter("accepted" if one.accepted else one.level for one in findings)
    return {
        "schema_version": SCHEMA,
        "tool_version": tool_version(),
        "made": now(),
        "archives": data.manifest["source"].value_counts().to_dict(),
        "images": len(data.manifest),
        "policy": data.policy,
        "labels": {
            "malignant": int((data.labels == 1).sum()),
            "benign": int((data.labels == 0).sum()),
            "unknown": int((data.labels != data.labels).sum()),
        },
        "levels": {level: counts[level] for level in (*LEVELS, "accepted")},
        "findings": [
            {"check": check.name, **one.to_dict()} for check, found in results for one in found
        ],
        "leave_out": list(lists),
    }


def text_lines(results: Results, summary: dict[str, Any]) -> list[str]:
    """Return the findings as lines for a terminal."""
    lines = []
    for check, found in results:
        lines.append(check.title)
        for one in found:
            sign = "allowed" if one.accepted else _SIGNS[one.level]
            lines.append(f"  {sign}  {one.found}")
            if one.level in ("error", "warning"):
                if one.examples:
                    shown = "; ".join(" / ".join(group[:4]) for group in one.examples[:3])
                    lines.append(f"           for example {shown}")
                lines += [f"           to mend: {one.mend}"] if one.mend else []
                if one.level == "error" and not one.accepted:
                    lines.append(f"           to accept it: --allow '{one.key}'")
    levels = summary["levels"]
    told = ", ".join(
        f"{levels[level]} {level}{'s' if levels[level] != 1 else ''}"
        for level in ("error", "warning", "note")
    )
    return [*lines, told + (f", {levels['accepted']} accepted" if levels["accepted"] else "")]


def _accepted(findings: list[Finding], allow: Sequence[str]) -> list[Finding]:
    return [
        dataclasses.replace(one, accepted=True)
        if one.level in ("error", "warning") and (one.key in allow or one.name in allow) else one
        for one in findings
    ]  # fmt: skip


def _tell_unused(results: Results, allow: Sequence[str]) -> None:
    known = {name for _, found in results for one in found if one.accepted
             for name in (one.key, one.name)}  # fmt: skip
    for name in allow:
        if name not in known:
            log.warning("--allow %s: there is no such finding", name)
