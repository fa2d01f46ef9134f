"""Python source that the pocket model never saw, to measure what fine-tuning makes it forget.

    python -m scripts.assets.heldout_source

Takes whole files of two packages that `scripts/assets/pocket_corpus.py` held out of the pre-training corpus, each under
its licence, and writes lorabook/assets/heldout_source.txt: the licences first, then the files, each after a line FILE.
"""

import importlib.metadata
from pathlib import Path

from lorabook.workbook.kit.shipped_source import FILE
from lorabook.workbook.rank_and_alpha.forgetting import SOURCE
from scripts.assets.pocket_corpus import HELD_OUT

FILES = {
    "jinja2": ("environment.py", "loaders.py"),
    "beautifulsoup4": ("formatter.py", "css.py"),
}


def main() -> None:
    notices, sources = [], []
    for package, names in FILES.items():
        distribution = importlib.metadata.distribution(package)
        (licence,) = (f for f in distribution.files or [] if f.name in ("LICENSE", "LICENSE.txt"))
        notices.append(f"{package} {distribution.version}\n\n{licence.read_text().strip()}\n")
        folder = Path(str(distribution.locate_file(HELD_OUT[package])))
        for name in names:
            sources.append(f"{FILE}{folder.name}/{name}\n{(folder / name).read_text(encoding='utf-8').strip()}\n")
    intro = "Source code of other projects, unchanged, to measure a model on. Their licences:\n"
    SOURCE.write_text("\n".join([intro, *notices, *sources]), encoding="utf-8")
    print(f"{SOURCE}: {SOURCE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
