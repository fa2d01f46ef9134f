"""Write where the project is published into everything that says so.

    python -m scripts.notebooks.badges                    as pyproject.toml's [tool.lorabook] says
    python -m scripts.notebooks.badges --slug owner/name  published on GitHub
    python -m scripts.notebooks.badges --slug owner/name --pypi    and on PyPI
    python -m scripts.notebooks.badges --slug none        not published

Published, every notebook has badges for Colab, Kaggle and Binder under its title and installs lorabook from there,
README's table has the same badges, and README's links and pictures are absolute, as PyPI shows them. Not published,
there are no badges, and a notebook's first cell takes a wheel beside it or the checkout above it: an address that is
not ours could be anybody's. Writing the same state twice changes nothing.
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nbformat

from lorabook import __version__

ROOT = Path(__file__).resolve().parents[2]
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
BADGE = r"\[!\[[^\]]*\]\([^)\s]*\)\]\([^)\s]*\)"
RUN = rf"{BADGE}(?: +{BADGE})*"
GITHUB = r"https://(?:github\.com|raw\.githubusercontent\.com)/[^/\s)]+/[^/\s)]+/(?:blob/)?main/"

FIRST_CELL = """\
# Install lorabook if missing, from a wheel beside this notebook or from {place}.
from glob import glob
from importlib.util import find_spec

if not find_spec("lorabook"):
    wheels = sorted(glob("lorabook-*.whl"))
{refusal}    %pip install -q {{wheels[-1] if wheels else {otherwise}}}
from lorabook.workbook.kit.setup import setup

setup()"""
REFUSAL = """\
    assert wheels or glob("../lorabook"), "Put lorabook's wheel beside this notebook."
"""


@dataclass(frozen=True)
class Place:
    """Where the project is published: owner/name on GitHub, empty if nowhere, and whether PyPI has it."""

    slug: str
    pypi: bool

    def badges(self, notebook: str) -> str:
        """The three badges of notebooks/`notebook`, as Markdown; empty where nothing is published."""
        if not self.slug:
            return ""
        source = f"{self.slug}/blob/main/notebooks/{notebook}"
        targets = (
            ("Open In Colab", "https://colab.research.google.com/assets/colab-badge.svg",
             f"https://colab.research.google.com/github/{source}"),
            ("Open in Kaggle", "https://kaggle.com/static/images/open-in-kaggle.svg",
             f"https://kaggle.com/kernels/welcome?src=https://github.com/{source}"),
            ("Open in Binder", "https://mybinder.org/badge_logo.svg",
             f"https://mybinder.org/v2/gh/{self.slug}/HEAD?labpath=notebooks/{notebook}"),
        )  # fmt: skip
        return " ".join(f"[![{name}]({image})]({target})" for name, image, target in targets)

    def first_cell(self) -> str:
        """The first code cell of every notebook: install lorabook where it is missing, then set up."""
        if self.pypi:
            series = ".".join(__version__.split(".")[:2])
            return FIRST_CELL.format(place="PyPI", otherwise=f"\"'lorabook=={series}.*'\"", refusal="")
        if self.slug:
            return FIRST_CELL.format(place="GitHub", otherwise=f'"git+https://github.com/{self.slug}"', refusal="")
        return FIRST_CELL.format(place="its checkout", otherwise='".."', refusal=REFUSAL)

    def in_title(self, source: str, notebook: str) -> str:
        """A notebook's first cell with its badges, if there are any, as the paragraph below the title."""
        title, _, rest = source.partition("\n")
        rest = re.sub(rf"^{RUN}\s*", "", rest.lstrip("\n"))
        return "\n\n".join(part for part in (title, self.badges(notebook), rest) if part)

    def in_readme(self, text: str) -> str:
        """README with its badges, and with links and pictures absolute if there is a place that they can lead to."""
        text = re.sub(rf"^(\| \[[^\]]+\]\([^)\s]*\))(?: +{RUN})", r"\1", text, flags=re.MULTILINE)
        text = re.sub(rf"(?<=\]\(){GITHUB}", "", text)
        row = re.compile(r"^(\| \[[^\]]+\]\(notebooks/(\w+\.ipynb)\))", re.MULTILINE)
        address = f"https://github.com/{self.slug}" if self.slug else "THIS-REPOSITORY"
        text = re.sub(r"^git clone \S+ ", f"git clone {address} ", text, flags=re.MULTILINE)
        text = row.sub(lambda match: f"{match[1]} {self.badges(match[2])}".rstrip(), text)
        if self.slug:
            link = r"\]\((?![a-z]+:|#)"
            text = re.sub(rf"(!\[[^\]]*){link}", rf"\1](https://raw.githubusercontent.com/{self.slug}/main/", text)
            text = re.sub(link, f"](https://github.com/{self.slug}/blob/main/", text)
        return text

    def in_pyproject(self, text: str) -> str:
        """pyproject.toml with this place in [tool.lorabook], and with the addresses that PyPI shows if there is one."""
        text = re.sub(r'^slug = ".*"$', f'slug = "{self.slug}"', text, flags=re.MULTILINE)
        text = re.sub(r"^pypi = \w+$", f"pypi = {str(self.pypi).lower()}", text, flags=re.MULTILINE)
        text = re.sub(r"^\[project\.urls\]\n(?:.+\n)+\n", "", text, flags=re.MULTILINE)
        home = f"https://github.com/{self.slug}"
        urls = f'[project.urls]\nHomepage = "{home}"\nIssues = "{home}/issues"\n'
        urls += f'Changelog = "{home}/blob/main/CHANGELOG.md"\n\n'
        return text.replace("[project.scripts]", f"{urls}[project.scripts]") if self.slug else text

    def in_citation(self, text: str) -> str:
        text = re.sub(r"^repository-code: .*\n", "", text, flags=re.MULTILINE)
        return f'{text}repository-code: "https://github.com/{self.slug}"\n' if self.slug else text


def place_of(root: Path) -> Place:
    table = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["lorabook"]
    return Place(table["slug"], table["pypi"])


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text(encoding="utf-8")
    after = change(before)
    if after != before:
        path.write_text(after, encoding="utf-8")
        print(f"{path.name}: written")


def rewrite_notebook(path: Path, place: Place) -> None:
    notebook = nbformat.read(path, as_version=4)
    before = nbformat.writes(notebook)
    title, first = notebook.cells[:2]
    title.source = place.in_title(title.source, path.name)
    first.source = place.first_cell()
    if nbformat.writes(notebook) != before:
        nbformat.write(notebook, path)
        print(f"{path.name}: written")


def main(root: Path = ROOT, arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write where the project is published into everything that says so.")
    parser.add_argument("--slug", help="owner/name on GitHub, or none")
    parser.add_argument("--pypi", action="store_true", help="notebooks install from PyPI")
    chosen = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    place = place_of(root)
    if chosen.slug is not None or chosen.pypi:
        slug = place.slug if chosen.slug is None else chosen.slug
        if slug != "none" and not SLUG.fullmatch(slug):
            sys.exit(f"{slug!r} is not a place on GitHub. Write it as owner/name: make badges SLUG=owner/name")
        place = Place("" if slug == "none" else slug, chosen.pypi)
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        rewrite_notebook(path, place)
    rewrite(root / "README.md", place.in_readme)
    rewrite(root / "pyproject.toml", place.in_pyproject)
    rewrite(root / "CITATION.cff", place.in_citation)


if __name__ == "__main__":
    main()
