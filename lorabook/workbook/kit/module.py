"""An ES module of the book, put together from its files into one text."""

import re
from importlib.resources import files
from pathlib import PurePosixPath

IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[^"]+)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=const|function|class|async)", re.MULTILINE)


def inlined(*paths: str) -> str:
    """The files at `paths`, relative to the workbook, each below all that it imports, with no import or export left.

    Every file stands there once, so their names at the top must differ. A browser needs no other file then.
    """
    found: dict[PurePosixPath, str] = {}

    def read(place: PurePosixPath) -> None:
        if place in found:
            return
        text = files("lorabook").joinpath("workbook", *place.parts).read_text(encoding="utf-8")
        for imported in IMPORT.findall(text):
            read(_from(place.parent, imported))
        found[place] = EXPORT.sub("", IMPORT.sub("", text))

    for path in paths:
        read(PurePosixPath(path))
    return "\n".join(found.values())


def _from(folder: PurePosixPath, imported: str) -> PurePosixPath:
    parts = list(folder.parts)
    for part in PurePosixPath(imported).parts:
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return PurePosixPath(*parts)
