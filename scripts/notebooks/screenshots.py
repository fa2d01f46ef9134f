"""Pictures of the workbook as its readers see it: `build/screenshots`.

    python -m scripts.notebooks.screenshots

A real JupyterLab, light and dark, with the LoRA explorer; and every committed notebook
as a static page, light and dark, the way GitHub shows it: no kernel, no widgets. They are there to be looked at.
"""

import tempfile
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter
from playwright.sync_api import sync_playwright

from scripts.notebooks.browser import FLAGS, copy_blank, find_chromium, jupyterlab, notebook_page

ROOT = Path(__file__).resolve().parents[2]

OUT = ROOT / "build/screenshots"
EXPLORER = "03_rank_and_alpha.ipynb"


def explorer(chromium: str, theme: str, folder: Path) -> bytes:
    """The LoRA explorer in JupyterLab as the article sets it, its rank then moved two steps by the keyboard."""
    notebooks = folder / "notebooks"
    notebooks.mkdir(parents=True)
    path = ROOT / "notebooks" / EXPLORER
    cells = nbformat.read(path, as_version=4).cells
    first = next(i for i, cell in enumerate(cells) if cell.cell_type == "code")
    copy_blank(path, notebooks, lambda i, cell: i == first or "LoRAExplorer()" in "".join(cell["source"]))
    own = folder / "own"
    own.mkdir()
    with jupyterlab(notebooks, own, theme) as lab, notebook_page(lab, chromium, EXPLORER) as notebook:
        notebook.run_all(120)
        root = notebook.page.locator(".lorabook-explorer[data-live]")  # the static one below it is hidden
        root.locator("svg").wait_for()
        notebook.page.set_viewport_size({"width": 1300, "height": 1400})  # the whole explorer in view
        root.locator(".presets button").first.click()
        root.locator("input[type=range]").first.focus()
        for _ in range(2):
            notebook.page.keyboard.press("ArrowRight")
        return root.screenshot()


def static_pages(chromium: str) -> None:
    """Each committed notebook as a web page, light and dark."""
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=list(FLAGS), timeout=60_000)
        for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
            notebook = nbformat.read(path, as_version=4)
            for theme in ("light", "dark"):
                html, _ = HTMLExporter(theme=theme).from_notebook_node(notebook)
                page = browser.new_page(viewport={"width": 1000, "height": 900})
                page.route("http*://**", lambda route: route.abort())
                page.set_content(html, wait_until="domcontentloaded")
                page.screenshot(path=OUT / f"{path.stem}-{theme}.png", full_page=True)
                page.close()
        browser.close()


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    chromium = find_chromium()
    for theme in ("Light", "Dark"):
        with tempfile.TemporaryDirectory() as folder:
            picture = explorer(chromium, f"JupyterLab {theme}", Path(folder))
        (OUT / f"explorer-{theme.lower()}.png").write_bytes(picture)
    static_pages(chromium)
    print(*sorted(str(path.relative_to(ROOT)) for path in OUT.glob("*.png")), sep="\n")


if __name__ == "__main__":
    main()
