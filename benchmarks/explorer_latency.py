"""From an input to the painted picture, in a real browser: every explorer, by arrow keys and dragged with the mouse.

    python -m benchmarks.explorer_latency
    python -m benchmarks.explorer_latency --live --screenshots build/explorers

The static versions stand in pages of their own, with no kernel. The clock is the page's: it starts at the time stamp of
the input's event, which the browser sets when it is told of the key or the mouse, and stops in the first task after the
frame with the new picture. Only inputs that change the picture count. With `--live`, the same for the live versions in
JupyterLab, which draw before they tell the kernel. `--screenshots` leaves a picture of each explorer in light and dark
and at three widths. Prints a table and writes `benchmarks/results/explorer_latency.json`.
"""

import argparse
import contextlib
import os
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat

from lorabook.workbook.kit.explorer import Explorer
from scripts.assets import records
from scripts.assets.explorer_pictures import every_explorer
from scripts.notebooks.browser import FLAGS, find_chromium, jupyterlab, notebook_page

RESULT = Path(__file__).parent / "results" / "explorer_latency.json"
WIDTHS = (1400, 900, 420)


@contextlib.contextmanager
def static_page(browser, explorer: Explorer, width: int = 900, **options) -> Iterator:
    """A page with the explorer's static version alone."""
    page = browser.new_page(viewport={"width": width, "height": 1000}, **options)
    page.set_content(f"<!doctype html><body>{explorer.static_html(b'')}")
    page.wait_for_function(READY)
    yield page
    page.close()


def measure(page, moves: int) -> dict[str, list[float]]:
    """Milliseconds from each input to the painted picture, for keys and while a slider's thumb is dragged."""
    times: dict[str, list[float]] = {}
    slider = page.locator(".lorabook-explorer input[type=range]").last
    slider.scroll_into_view_if_needed()
    page.evaluate(WATCH)
    slider.focus()
    steps = int(slider.get_attribute("max"))
    page.keyboard.press("Home")
    for move in range(moves + 5):
        page.keyboard.press("ArrowLeft" if move // steps % 2 else "ArrowRight")
        page.wait_for_timeout(40)
    times["keys"] = page.evaluate("() => window.taken.splice(0)")[5:]  # the first ones also load fonts and code
    box = slider.bounding_box()
    left, y = box["x"] + 8, box["y"] + box["height"] / 2
    page.mouse.move(left, y)
    page.mouse.down()
    for move in range(12 * moves):
        share = abs((move / (2 * moves)) % 2 - 1)  # to and fro
        page.mouse.move(left + (box["width"] - 16) * (1 - share), y)
        page.wait_for_timeout(8)
    page.mouse.up()
    page.wait_for_timeout(100)
    times["dragging"] = page.evaluate("() => window.taken.splice(0)")
    return times


def summary(times: list[float]) -> dict[str, float]:
    quantiles = statistics.quantiles(times, n=10)
    return {"inputs": len(times), "median": round(statistics.median(times), 1), "p90": round(quantiles[-1], 1)}


def report(record: dict, place: str, explorer: Explorer, times: dict[str, list[float]]) -> None:
    name = type(explorer).__name__
    record.setdefault(place, {})[name] = {how: summary(values) for how, values in times.items()}
    for how, found in record[place][name].items():
        print(f"{place:8}{name:18}{how:10}{found['inputs']:7}{found['median']:8.1f}{found['p90']:8.1f}", flush=True)


def measure_live(record: dict, moves: int) -> None:
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder, own = Path(temporary, "notebooks"), Path(temporary, "own")
        folder.mkdir()
        own.mkdir()
        for explorer in every_explorer():
            name = type(explorer).__name__
            source = f"from lorabook.workbook import explorers\nexplorer = explorers.{name}()\nexplorer"
            cells = [nbformat.v4.new_code_cell(source)]
            nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), folder / f"{name}.ipynb")
        with jupyterlab(folder, own) as lab:
            for explorer in every_explorer():
                with notebook_page(lab, find_chromium(), f"{type(explorer).__name__}.ipynb") as notebook:
                    notebook.run_all(120)
                    notebook.page.wait_for_function(READY)
                    report(record, "live", explorer, measure(notebook.page, moves))


def main() -> None:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moves", type=int, default=40)
    parser.add_argument("--live", action="store_true", help="in JupyterLab too")
    parser.add_argument("--screenshots", type=Path, help="folder for pictures in light and dark, at three widths")
    args = parser.parse_args()
    record: dict = {}
    print(f"{'milliseconds from input to painted picture':36}{'inputs':>7}{'median':>8}{'p90':>8}")
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=find_chromium(), args=list(FLAGS))
        for explorer in every_explorer():
            with static_page(browser, explorer) as page:
                report(record, "static", explorer, measure(page, args.moves))
            for theme in ("light", "dark") if args.screenshots else ():
                for width in WIDTHS:
                    with static_page(browser, explorer, width, color_scheme=theme) as page:
                        name = f"{type(explorer).__name__}_{theme}_{width}.png"
                        page.locator(".lorabook-explorer").screenshot(path=args.screenshots / name)
        browser.close()
    if args.live:
        measure_live(record, args.moves)
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    records.write(RESULT, "benchmarks/explorer_latency.py", {"moves": args.moves, "machine": machine} | record)


READY = "() => document.querySelector('.lorabook-explorer')?.shadowRoot?.querySelector('svg')"
WATCH = """() => {
    const root = document.querySelector('.lorabook-explorer').shadowRoot;
    const figure = root.querySelector('.figure'), channel = new MessageChannel();
    let began = 0, waiting = 0;
    window.taken = [];
    channel.port1.onmessage = () => { window.taken.push(performance.now() - waiting); waiting = 0; };
    for (const name of ['keydown', 'pointermove', 'pointerdown']) {
        window.addEventListener(name, event => { began = event.timeStamp; }, true);
    }
    new MutationObserver(() => {
        if (waiting || !began) return;
        waiting = began;
        requestAnimationFrame(() => channel.port2.postMessage(0));
    }).observe(figure, { childList: true });
}"""

if __name__ == "__main__":
    main()
