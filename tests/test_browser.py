"""The workbook in JupyterLab, in a real browser. Where LORABOOK_REQUIRE_BROWSER is set, a missing one is a failure."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FINAL = "09_finetune_starcoder.ipynb"
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def chromium() -> str:
    found = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    if found is None:
        if os.environ.get("LORABOOK_REQUIRE_BROWSER"):
            pytest.fail("no Chromium on this machine, and LORABOOK_REQUIRE_BROWSER is set")
        pytest.skip("no Chromium on this machine")
    return found


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """JupyterLab on a free port of this machine, over a copy of the notebooks; yields its address."""
    folder = tmp_path_factory.mktemp("lab")
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"LORABOOK_MODEL": "pocket", "HF_HUB_OFFLINE": "1", "JUPYTER_CONFIG_DIR": str(folder)}
    options = ["--no-browser", "--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token=", "--allow-root"]
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={folder}"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(120):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/api/status", timeout=5)
                break
            time.sleep(0.5)
        yield address
    finally:
        server.terminate()
        server.wait(20)


def test_the_final_notebook_runs_from_the_menu(lab, chromium, tmp_path):
    """Open, Restart Kernel and Run All Cells, wait for the last cell: no error, the live plot is drawn and redrawn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1300, "height": 1000})
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{lab}/lab/tree/{FINAL}?reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        page.wait_for_function(FINISHED, timeout=170_000)
        errors = page.locator("[data-mime-type='application/vnd.jupyter.stderr'], .jp-RenderedText .ansi-red-fg")
        assert errors.count() == 0, errors.first.inner_text()
        plot = page.locator(".jp-OutputArea img.widget-image, .jp-OutputArea .widget-image img").first
        plot.scroll_into_view_if_needed()
        assert plot.evaluate("image => image.naturalWidth") > 300
        page.screenshot(path=tmp_path / "final.png")
        assert problems == []
        browser.close()


# The last code cell has its number, and no cell is still marked [*].
FINISHED = """() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(p => p.textContent);
    const last = prompts[prompts.length - 1];
    return prompts.length > 0 && prompts.every(p => !p.includes('*')) && /\\d+/.test(last);
}"""
