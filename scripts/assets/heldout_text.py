"""English prose that the pocket model never saw, to measure what fine-tuning makes a model forget.

    pip download --no-deps --no-binary :all: jinja2==3.1.6; tar xf jinja2-3.1.6.tar.gz
    python -m scripts.assets.heldout_text jinja2-3.1.6

Takes the plain paragraphs of Jinja's documentation, without code, lists and directives, and writes
lorabook/assets/heldout_text.txt: the licence first, then the paragraphs of each file, after a line FILE.
"""

import argparse
import re
from pathlib import Path

from lorabook.workbook.kit.shipped_source import FILE
from lorabook.workbook.rank_and_alpha.forgetting import TEXT

PAGES = ("api", "extensions", "faq", "integration", "intro", "nativetypes", "sandbox", "switching", "templates")


def paragraphs(rst: str) -> list[str]:
    """The paragraphs of a reStructuredText page that are whole sentences at the left margin, markup taken out."""
    found = []
    for block in re.split(r"\n\s*\n", rst):
        lines = block.strip("\n").split("\n")
        text = " ".join(lines)
        if not re.match(r"[A-Z]", text) or any(line.startswith((" ", "\t")) for line in lines):
            continue
        text = re.sub(r":[\w:]+:`~?!?([^`<]+?)(?: <[^`]*>)?`", r"\1", text)
        text = re.sub(r"`([^`<]+?) <[^`]*>`_+", r"\1", text).replace("``", "`").removesuffix(":")
        if len(text.split()) >= 12 and text.rstrip().endswith((".", "!", "?", "::")):
            found.append(text.removesuffix("::").strip())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="an unpacked source distribution of Jinja")
    folder = parser.parse_args().folder
    licence = (folder / "LICENSE.txt").read_text(encoding="utf-8").strip()
    pages = [
        f"{FILE}{name}.rst\n" + "\n\n".join(paragraphs((folder / f"docs/{name}.rst").read_text())) for name in PAGES
    ]
    intro = f"Paragraphs of the documentation of {folder.name}, to measure a model on. Its licence:\n\n{licence}\n"
    TEXT.write_text("\n".join([intro, *pages]) + "\n", encoding="utf-8")
    print(f"{TEXT}: {TEXT.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
