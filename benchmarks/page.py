"""The page that benchmarks write on: each script owns the part between its two marks."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "benchmarks.md"


def write_section(script: str, text: str) -> None:
    """Put `text` between the marks of ``benchmarks/<script>.py``."""
    begin, end = f"<!-- {script}.py begin -->", f"<!-- {script}.py end -->"
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(begin)
    tail = rest.split(end)[1]
    PAGE.write_text(f"{head}{begin}\n\n{text}\n\n{end}{tail}", encoding="utf-8")
