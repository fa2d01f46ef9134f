"""Build the book as a site in build/site.

    python -m scripts.notebooks.site [builder of Sphinx, html if none is named]

Sphinx does it, by the settings in `docs/site/conf.py`. The notebooks are shown with their stored outputs, so nothing is
run and no connection is opened. This file holds what Sphinx and its theme do not know about this book.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.notebooks.badges import Place

ROOT = Path(__file__).resolve().parents[2]
CONTENTS = """
```{toctree}
:caption: The book
:glob:
:hidden:

0*
```

```{toctree}
:caption: Look up
:hidden:

cheat_sheet
glossary
more_memory
more_rank
more_low_rank
more_fastfood
more_adapters
more_clinic
more_finetune
The library <api/lorabook>
```
"""


def front_page(readme: str) -> str:
    """The site's first page: README's beginning with the commands, its table of notebooks, the sidebar's contents."""
    readme = Place("", False).in_readme(readme)  # without badges, which would be loaded from other hosts
    about, commands, rest = readme.partition("```bash")
    assert "Without make" in rest, "README.md no longer says what to do without make."
    run = commands + rest.partition("Without make")[0]
    start = "Read it here, beginning with [notebook 00](00_start_here.ipynb), or run it on your machine:\n\n"
    table = re.search(r"^## The workbook\n.*?(?=^## )", readme, re.MULTILINE | re.DOTALL)
    assert table, "README.md has no section `The workbook`."
    return re.sub(r"\]\((?:notebooks|docs)/", "](", about + start + run + table[0]) + CONTENTS


def as_page(notebook: str, name: str, place: Place) -> str:
    """A notebook's JSON as the site shows it.

    Left out are badges, which the buttons above every page replace, nbval's comments and the name of a live explorer,
    whose static version follows. The first cell, which installs, is folded. A link to a file of the repository leads
    to GitHub if the project is published there; otherwise its text alone remains.
    """
    content = json.loads(notebook)
    title, first = content["cells"][:2]
    title["source"] = Place("", False).in_title("".join(title["source"]), name)
    first["metadata"]["tags"] = ["hide-input"]
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            target = rf"[\1](https://github.com/{place.slug}/blob/main/\2)" if place.slug else r"\1"
            source = re.sub(r"(?<!!)\[([^\]]*)\]\(\.\./([^)\s]+)\)", target, source)
        else:
            source = source.removeprefix("# NBVAL_IGNORE_OUTPUT\n")
            cell["outputs"] = [output for output in cell["outputs"] if not _names_an_explorer(output)]
        cell["source"] = source
    return json.dumps(content)


def _names_an_explorer(output: dict) -> bool:
    data = output.get("data", {})
    return set(data) == {"text/plain"} and bool(re.fullmatch(r"\w+Explorer\(\)", "".join(data["text/plain"])))


def jupyter_anchor(heading: str) -> str:
    """What stands behind the # of a link to `heading` in JupyterLab, and so in the notebooks."""
    return heading.replace(" ", "-")


def launch_buttons(name: str, place: Place) -> list[dict[str, str]]:
    """The theme's buttons that open notebooks/`name` on Colab, Kaggle and Binder: where the badges lead."""
    links = re.findall(r"\[!\[([^\]]+)\]\([^)]+\)\]\(([^)]+)\)", place.badges(name))
    return [{"type": "link", "text": text, "tooltip": text, "url": url, "icon": "fas fa-rocket"} for text, url in links]


def literal_blocks(docstring: list[str]) -> Iterator[str]:
    """The lines of a docstring, with `::` before each indented block: code in Markdown, a quotation in Sphinx."""
    last, blank = "", False
    for line in docstring:
        if blank and line.startswith("    ") and not last.startswith(" "):
            yield from ("::", "")
        yield line
        blank = not line
        last = line or last


def exports(package) -> Iterator[str]:
    """Lines that name what can be imported from a package, each with a link to where it is defined."""
    if hasattr(package, "__path__") and hasattr(package, "__all__"):
        links = (f":py:obj:`{name} <{getattr(package, name).__module__}.{name}>`" for name in package.__all__)
        yield from ("", f"This package exports {', '.join(links)}.", "")


def mathml(tex: str, block: bool) -> str:
    """An equation as MathML, which browsers draw without a script or fonts of ours."""
    from docutils.utils.math.latex2mathml import tex2mathml

    return tex2mathml(tex.replace(r"\dots", r"\cdots"), as_block=block)


def collect(source: Path) -> None:
    """Put the pages where Sphinx looks for them."""
    source.mkdir(parents=True)
    notebooks = ROOT / "notebooks"
    for path in (*notebooks.glob("*.ipynb"), *notebooks.glob("*.md"), ROOT / "docs/notebooks.png"):
        shutil.copy(path, source)
    (source / "index.md").write_text(front_page((ROOT / "README.md").read_text("utf-8")), "utf-8")


def build(builder: str, site: Path) -> int:
    """Write the site, or what another `builder` of Sphinx makes. A warning, such as of a broken link, is a failure.

    It starts afresh: Sphinx would not warn again of a page that has not changed.
    """
    from sphinx.cmd.build import main as sphinx

    work = site.with_name(f"{site.name}-work")
    for folder in (site, work):
        shutil.rmtree(folder, ignore_errors=True)
    collect(work / "source")
    strict = ["--fail-on-warning", "--keep-going", "--quiet"]
    place = ["--conf-dir", str(ROOT / "docs/site"), "--doctree-dir", str(work / "doctrees")]
    return sphinx([*strict, "--builder", builder, *place, str(work / "source"), str(site)])


if __name__ == "__main__":
    chosen = sys.argv[1] if sys.argv[1:] else "html"
    sys.exit(build(chosen, ROOT / "build" / ("site" if chosen == "html" else f"site-{chosen}")))
