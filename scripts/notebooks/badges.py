"""Write the project's place on GitHub wherever it stands: pyproject's URLs, the badges, the notebooks' first code cell.

    python -m scripts.notebooks.badges            # the place that pyproject.toml names: repairs badges alone
    python -m scripts.notebooks.badges owner/name

Every notebook has badges for Colab, Kaggle and Binder under its title, and every row of README's table has them after
the notebook's name. Writing them again changes nothing.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
BADGE = r"\[!\[[^\]]*\]\([^)\s]*\)\]\([^)\s]*\)"
RUN = rf"{BADGE}(?: +{BADGE})*"


def slug_of(pyproject: str) -> str:
    """The `owner/name` of pyproject's homepage."""
    (found,) = re.findall(r'^Homepage = "https://github\.com/([^"]+)"$', pyproject, re.MULTILINE)
    return found


def badges(slug: str, notebook: str) -> str:
    """The three badges of notebooks/`notebook`, as Markdown."""
    source = f"{slug}/blob/main/notebooks/{notebook}"
    places = (
        ("Open In Colab", "https://colab.research.google.com/assets/colab-badge.svg",
         f"https://colab.research.google.com/github/{source}"),
        ("Open in Kaggle", "https://kaggle.com/static/images/open-in-kaggle.svg",
         f"https://kaggle.com/kernels/welcome?src=https://github.com/{source}"),
        ("Open in Binder", "https://mybinder.org/badge_logo.svg",
         f"https://mybinder.org/v2/gh/{slug}/HEAD?labpath=notebooks/{notebook}"),
    )  # fmt: skip
    return " ".join(f"[![{name}]({image})]({target})" for name, image, target in places)


def in_title(source: str, slug: str, notebook: str) -> str:
    """A notebook's first cell with its badges as the paragraph below the title."""
    title, _, rest = source.partition("\n")
    rest = re.sub(rf"^{RUN}\s*", "", rest.lstrip("\n"))
    return f"{title}\n\n{badges(slug, notebook)}\n\n{rest}"


def in_table(readme: str, slug: str) -> str:
    """README with badges in each table row that begins with a link to a notebook."""
    row = re.compile(rf"^(\| \[[^\]]+\]\(notebooks/(\w+\.ipynb)\))(?: +{RUN})?", re.MULTILINE)
    return row.sub(lambda match: f"{match[1]} {badges(slug, match[2])}", readme)


def moved(text: str, old: str, new: str) -> str:
    """`text` with every GitHub address of the project at its new place."""
    return re.sub(rf"(github\.com/){re.escape(old)}(?![\w-]|\.\w*[\w-])", rf"\g<1>{new}", text)


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    before = path.read_text(encoding="utf-8")
    after = change(before)
    if after != before:
        path.write_text(after, encoding="utf-8")
        print(f"{path.name}: written")


def rewrite_notebook(path: Path, old: str, new: str) -> None:
    notebook = nbformat.read(path, as_version=4)
    before = nbformat.writes(notebook)
    for cell in notebook.cells:
        cell.source = moved(cell.source, old, new)
    notebook.cells[0].source = in_title(notebook.cells[0].source, new, path.name)
    if nbformat.writes(notebook) != before:
        nbformat.write(notebook, path)
        print(f"{path.name}: written")


def main(root: Path = ROOT, arguments: list[str] | None = None) -> None:
    arguments = sys.argv[1:] if arguments is None else arguments
    old = slug_of((root / "pyproject.toml").read_text(encoding="utf-8"))
    new = arguments[0] if arguments else old
    if not SLUG.fullmatch(new):
        sys.exit(f"{new!r} is not a place on GitHub. Write it as owner/name: make badges SLUG=owner/name")
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        rewrite_notebook(path, old, new)
    rewrite(root / "README.md", lambda text: in_table(moved(text, old, new), new))
    rewrite(root / "CONTRIBUTING.md", lambda text: moved(text, old, new))
    rewrite(root / "pyproject.toml", lambda text: moved(text, old, new))


if __name__ == "__main__":
    main()
