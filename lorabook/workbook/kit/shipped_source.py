"""Python source of other projects that ships in one text: their licences first, then each file after its name."""

from functools import cache
from pathlib import Path

ASSETS = Path(__file__).parents[2] / "assets"
FILE = "==== file: "  # starts the line before each file


@cache
def source_files(text: Path) -> dict[str, str]:
    """The files by name."""
    _, *files = text.read_text(encoding="utf-8").split(f"\n{FILE}")
    return {name: source for name, _, source in (file.partition("\n") for file in files)}
