"""The page of commands says what the programs say."""

from __future__ import annotations

from pathlib import Path

from pipelines.command_reference import page, programs

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "commands.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), (
        "make it again: python -m pipelines.command_reference docs/reference/commands.md"
    )


def test_every_flag_has_words() -> None:
    for line in page().splitlines():
        if line.startswith("| `--"):
            cells = [cell.strip() for cell in line.replace("\\|", "/").strip("| ").split(" | ")]
            assert len(cells[-1]) > 3, line


def test_every_command_is_there() -> None:
    text = page()
    for program, (_, tree) in programs().items():
        for name in tree:
            assert f"### {program} {name}" in text
