"""Move every explorer by the keyboard in the classic Notebook, with the ipywidgets of another environment.

    python -m scripts.checks.classic_notebook .venv-colab/bin/python build/colab/classic

`make colab` calls it, with the environment that Colab's versions are in. Each notebook with an explorer is opened, the
set-up cell and the explorer's are run, and each control is moved: the drawing must change. A screenshot
of each explorer, moved, is left in the folder.
"""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Locator, Page, sync_playwright

from scripts.notebooks.browser import FLAGS, copy_blank, find_chromium

ROOT = Path(__file__).resolve().parents[2]

SETTLED = """() => Jupyter.notebook.kernel?.is_connected() && !Jupyter.notebook.kernel_busy &&
    Jupyter.notebook.get_cells().filter(cell => cell.cell_type === 'code')
        .every(cell => typeof cell.input_prompt_number === 'number')"""
READY = """() => window.Jupyter?.notebook?.kernel?.is_connected() && Jupyter.notebook._fully_loaded &&
    Boolean(Jupyter.notebook.kernel.widget_manager)"""
ERRORS = "() => [...document.querySelectorAll('.output_error, .output_stderr')].map(part => part.innerText)"
DRAWN = "host => host.shadowRoot.querySelector('svg').outerHTML + host.shadowRoot.querySelector('.error').textContent"
MADE = re.compile(r"^explorer = \w+Explorer\(\)$", re.MULTILINE)
# A slider or a button at its end takes the other arrow.
KEYS = ("ArrowRight", "ArrowLeft", "ArrowLeft")


def reduced(folder: Path) -> list[str]:
    """Copies of the notebooks with an explorer, cut to the set-up cell and the explorer's; their names."""
    names = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        kept = {index for index, cell in enumerate(cells) if MADE.search("".join(cell["source"]))}
        if not kept:
            continue
        kept.add(next(index for index, cell in enumerate(cells) if cell["cell_type"] == "code"))
        copy_blank(path, folder, lambda index, _, kept=kept: index in kept)
        names.append(path.name)
    return names


def move(page: Page, root: Locator, control: Locator) -> bool:
    """Whether some key, pressed with the focus in the control, changes the drawing of the first preset."""
    if (presets := root.locator(".presets button")).count():
        presets.first.click()
    chosen, box = control.locator("input[type=radio]:checked"), control.locator("input[type=checkbox]")
    (chosen if chosen.count() else control.locator("input")).first.focus()
    for key in ("Space",) if box.count() else KEYS:
        before = root.evaluate(DRAWN)
        page.keyboard.press(key)
        page.wait_for_timeout(100)
        if root.evaluate(DRAWN) != before:
            return True
    return False


def check(page: Page, address: str, name: str, screenshot: Path) -> list[str]:
    """What is wrong with the explorers of one notebook."""
    page.goto(f"{address}/notebooks/{name}", timeout=60_000)
    page.wait_for_function(READY, timeout=90_000)
    page.wait_for_timeout(8000)  # the widgets' manager first asks for what is there: what is shown before is lost
    page.evaluate("() => { Jupyter.notebook.execute_all_cells(); }")
    page.wait_for_function(SETTLED, timeout=180_000)
    if errors := page.evaluate(ERRORS):
        return [f"{name}: {errors[0][:500]}"]
    page.wait_for_selector(".lorabook-explorer svg", timeout=30_000)
    faults = []
    for root in page.locator(".lorabook-explorer[data-live]").all():
        controls = root.locator(".control").all()
        moved = [move(page, root, control) for control in controls]
        print(f"{name}: {sum(moved)} of {len(controls)} controls move the picture")
        faults += [
            f"{name}: no key moves control {i}: {c.inner_text()!r}" for i, c in enumerate(controls) if not moved[i]
        ]
        if "fault of the explorer" in (message := root.locator(".error").inner_text()):
            faults.append(f"{name}: {message}")
        root.screenshot(path=screenshot)
    return faults if controls else [f"{name}: no control"]


def main() -> None:
    python, folder = sys.argv[1], Path(sys.argv[2]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    names = reduced(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ("--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--NotebookApp.token=")
    own = {name: str(folder / "own") for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            [python, "-m", "notebook", *options, f"--notebook-dir={folder}"],
            env=os.environ | own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    address, faults = f"http://127.0.0.1:{port}", []
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/api", timeout=10).close()
                break
            except OSError:
                time.sleep(0.2)
        else:
            sys.exit(f"the classic Notebook did not answer in two minutes: see {folder / 'server.log'}")
        with sync_playwright() as p:
            browser = p.chromium.launch(executable_path=find_chromium(), args=list(FLAGS), timeout=60_000)
            for name in names:
                page = browser.new_page(viewport={"width": 1300, "height": 1400})
                page.on("dialog", lambda dialog: dialog.accept())
                faults += check(page, address, name, folder / f"{name.removesuffix('.ipynb')}.png")
                page.evaluate("() => { Jupyter.notebook.kernel.kill(); Jupyter.notebook.set_dirty(false); }")
                page.close()
            browser.close()
    finally:
        server.terminate()
        server.wait(20)
    sys.exit("\n".join(faults) or 0)


if __name__ == "__main__":
    main()
