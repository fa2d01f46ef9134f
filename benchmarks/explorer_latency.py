"""From a slider's move to the new picture, in a real browser: the explorers beside the usual way of making widgets.

    python -m benchmarks.explorer_latency
    python -m benchmarks.explorer_latency --screenshots build/explorers

JupyterLab runs with the explorer in one cell and, in the next, `interact` with the same figure and the same slider:
pyplot, `show`, an Output widget that is cleared and filled. The arrow keys move the two sliders in turn. The clock is
the page's own: it starts at the key's event and stops at the first frame after the picture has loaded. Prints a table
and writes `benchmarks/results/explorer_latency.json`. With `--screenshots` it also leaves a picture of each explorer
in the light and in the dark theme.
"""

import argparse
import os
import statistics
import tempfile
from pathlib import Path

import nbformat

from lorabook.workbook import explorers
from scripts.assets import records
from scripts.notebooks.browser import NotebookPage, find_chromium, jupyterlab, notebook_page

RESULT = Path(__file__).parent / "results" / "explorer_latency.json"
EXPLORERS = [name for name in explorers.__all__ if name != "Explorer"]
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
NAIVE = """import io
from dataclasses import replace
from PIL import Image
from ipywidgets import interact
from matplotlib import pyplot
name, slider = next((n, c) for n, c in explorer.controls.items() if "Slider" in type(c).__name__)
inches = [pixels / 100 for pixels in Image.open(io.BytesIO(explorer.picture.value)).size]
def draw(value):
    explorer.figure(replace(explorer.default, **{name: value}), pyplot.figure(figsize=inches, dpi=100))
    pyplot.show()
kept = {k: getattr(slider, k) for k in ("options", "min", "max", "step", "value") if slider.has_trait(k)}
interact(draw, value=type(slider)(**kept));"""


def write_notebook(path: Path, explorer: str) -> None:
    sources = (f"from lorabook.workbook import explorers\nexplorer = explorers.{explorer}()\nexplorer", NAIVE)
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


def measure(notebook: NotebookPage, moves: int) -> dict[str, list[float]]:
    """Milliseconds from key to picture for each move: the explorer's and the naive widget's, taken in turn."""
    page = notebook.page
    areas = [page.locator(".jp-Cell").nth(index).locator(".jp-OutputArea").first for index in range(2)]
    for area in areas:
        area.evaluate(WATCH)
    times: dict[str, list[float]] = {"explorer": [], "naive": []}
    for move in range(moves + 2):
        for name, area in zip(times, areas):
            area.locator(".noUi-handle").first.focus()
            page.evaluate("() => { window.began = window.drawn = 0; }")
            page.keyboard.press("ArrowLeft" if move % 2 else "ArrowRight")
            taken = page.wait_for_function("() => window.drawn && window.drawn - window.began", timeout=20_000)
            if move > 1:  # the first pictures also load fonts and code
                times[name].append(taken.json_value())
            page.wait_for_timeout(150)
    return times


def summary(times: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(times), 1), "p90": round(statistics.quantiles(times, n=10)[-1], 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=40)
    parser.add_argument("--screenshots", type=Path, help="folder for pictures in the light and the dark theme")
    args = parser.parse_args()
    chromium, record = find_chromium(), {}
    print(f"{'milliseconds from key to picture':34}{'median':>8}{'p90':>8}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary, "notebooks")
        folder.mkdir()
        for explorer in EXPLORERS:
            write_notebook(folder / f"{explorer}.ipynb", explorer)
        for theme, full_name in THEMES.items():
            if theme == "dark" and not args.screenshots:
                break
            with jupyterlab(folder, Path(temporary, theme), full_name) as lab:
                for explorer in EXPLORERS:
                    with notebook_page(lab, chromium, f"{explorer}.ipynb") as notebook:
                        notebook.run_all(120)
                        if args.screenshots:
                            args.screenshots.mkdir(parents=True, exist_ok=True)
                            shown = notebook.page.locator(".jp-Cell").first
                            shown.screenshot(path=args.screenshots / f"{explorer}_{theme}.png")
                        if theme == "light":
                            times = measure(notebook, args.moves)
                            record[explorer] = {name: summary(values) for name, values in times.items()}
                            for name, values in record[explorer].items():
                                label = explorer if name == "explorer" else "  interact, same figure"
                                print(f"{label:34}{values['median']:8.0f}{values['p90']:8.0f}", flush=True)
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    found = {"moves": args.moves, "machine": machine, "milliseconds": record}
    records.write(RESULT, "benchmarks/explorer_latency.py", found)


WATCH = """area => {
    if (!window.watching) {
        document.addEventListener('keydown', () => { window.began = performance.now(); }, true);
        window.watching = true;
    }
    const done = () => { window.drawn ||= performance.now(); };
    area.addEventListener('load', event => window.began && requestAnimationFrame(done), true);
}"""

if __name__ == "__main__":
    main()
