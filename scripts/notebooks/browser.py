"""JupyterLab in a real browser: a server over a folder of notebooks, a page with one of them, and its kernel.

Nothing here waits without a limit, and whatever ends a wait early (a dialog, a server that stopped) is named. Where
LORABOOK_REQUIRE_BROWSER is set, a missing browser is a failure, elsewhere a skip.
"""

import contextlib
import functools
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

# Software drawing, and no errand of the browser's own.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
VIEW = {"width": 1300, "height": 1000}


def find_chromium() -> str:
    """The path of a Chromium; without one, the running test is skipped or fails."""
    found = next((p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome")) if p), None)
    if found is None:
        if os.environ.get("LORABOOK_REQUIRE_BROWSER"):
            pytest.fail("no Chromium on this machine, and LORABOOK_REQUIRE_BROWSER is set")
        pytest.skip("no Chromium on this machine")
    return found


def copy_blank(notebook: Path, folder: Path, keep=lambda index, cell: True) -> Path:
    """Copy the cells that `keep(index, cell)` wants, as if never run: a number or an output then proves a run."""
    content = json.loads(notebook.read_text(encoding="utf-8"))
    content["cells"] = [cell for index, cell in enumerate(content["cells"]) if keep(index, cell)]
    for cell in content["cells"]:
        if cell["cell_type"] == "code":
            cell["execution_count"], cell["outputs"] = None, []
    copy = folder / notebook.name
    copy.write_text(json.dumps(content), encoding="utf-8")
    return copy


class Lab:
    """A running JupyterLab. `address` is its URL, `own` the folder of its settings, log and connection files."""

    def __init__(self, address: str, own: Path):
        self.address, self.own = address, own

    def get(self, path: str) -> list | dict:
        with urllib.request.urlopen(f"{self.address}/api/{path}", timeout=10) as reply:
            return json.load(reply)

    def log(self) -> str:
        """The last lines that the server wrote."""
        return (self.own / "server.log").read_text(errors="replace")[-3000:]


def _text_of(message: dict) -> str:
    return message["content"]["text"] if message["content"].get("name") == "stdout" else ""


@contextlib.contextmanager
def jupyterlab(folder: Path, own: Path, theme: str = "JupyterLab Light") -> Iterator[Lab]:
    """JupyterLab over the notebooks of `folder`, on a free port of this machine, with nothing of the user's settings.

    `own` is an empty folder for what the server writes.
    """
    settings = {
        "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page, in view or not
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
        "apputils-extension/themes": {"theme": theme},
        "docmanager-extension/plugin": {"autosave": False},
    }
    for name, values in settings.items():
        path = own / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    own_folders = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    environment = os.environ | {name: str(own / part) for name, part in own_folders.items()}
    environment |= {"LORABOOK_MODEL": "pocket", "HF_HUB_OFFLINE": "1"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = (
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={folder}",
        "--IdentityProvider.token=",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.expose_app_in_browser=True",
    )
    with (own / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        lab = Lab(f"http://127.0.0.1:{port}", own)
        try:
            _wait_until_up(server, lab)
            yield lab
        finally:
            _stop(server)


def _wait_until_up(server: subprocess.Popen, lab: Lab, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert server.poll() is None, f"JupyterLab stopped at once:\n{lab.log()}"
        with contextlib.suppress(OSError):
            lab.get("status")
            return
        time.sleep(0.2)
    pytest.fail(f"JupyterLab did not answer within {seconds:g} s:\n{lab.log()}")


def _stop(server: subprocess.Popen) -> None:
    """Ask the server to end, which ends its kernels; kill it if it does not, whose kernels then end by themselves."""
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait(10)


class NotebookPage:
    """A notebook open in JupyterLab. `problems` are uncaught exceptions and error lines of the browser's console."""

    def __init__(self, page, lab: Lab):
        self.page, self.lab = page, lab
        self.problems: list[str] = []
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("console", self._note)

    def _note(self, line) -> None:
        if line.type == "error" and line.location["url"].startswith(self.lab.address):  # not a badge of the open web
            self.problems.append(line.text)

    def open(self, name: str) -> None:
        """Show the notebook and wait until its kernel is ready: cells run before that are dropped or ask for one."""
        self.page.goto(f"{self.lab.address}/lab/tree/{name}?reset", timeout=60_000)
        self.wait_for(KERNEL_IDLE, 90)

    def run_all(self, seconds: float) -> None:
        """Run All Cells from the menu, and wait until each has a number and the kernel is idle; no error output."""
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.wait_for(FINISHED, seconds)
        errors = self.page.locator("[data-mime-type*='stderr'], .jp-RenderedText .ansi-red-fg")
        assert errors.count() == 0, errors.first.inner_text()

    def wait_for(self, condition: str, seconds: float) -> None:
        """Wait until the JavaScript function `condition` returns true; a dialog or a cell's error is a failure."""
        outcome = f"() => ({FAILED})() || (({condition})() ? 'done' : null)"
        try:
            answer = self.page.wait_for_function(outcome, timeout=1000 * seconds).json_value()
        except Exception as error:
            state = self.page.wait_for_function(STATE, timeout=5000).json_value()
            raise AssertionError(f"{error}\ncells and kernel: {state}\nserver: {self.lab.log()}") from error
        assert answer == "done", f"in place of an end there came: {answer}"

    def in_kernel(self, code: str, seconds: float = 30) -> str:
        """What `code` prints in the notebook's kernel, asked by a second client beside the page."""
        lines: list[str] = []
        reply = self.client.execute_interactive(
            code, timeout=seconds, store_history=False, output_hook=lambda m: lines.append(_text_of(m))
        )
        assert reply["content"]["status"] == "ok", reply["content"]
        return "".join(lines)

    @functools.cached_property
    def client(self):
        from jupyter_client.blocking.client import BlockingKernelClient

        kernel = self.page.evaluate(f"() => {PANEL}.sessionContext.session.kernel.id")
        client = BlockingKernelClient(connection_file=str(self.lab.own / "runtime" / f"kernel-{kernel}.json"))
        client.load_connection_file()
        client.start_channels()
        client.wait_for_ready(timeout=30)
        return client

    def close(self) -> None:
        """End the kernel: the next notebook is to have the memory."""
        if "client" in vars(self):
            self.client.stop_channels()
        self.page.evaluate(f"() => {{ {PANEL}.sessionContext.shutdown(); }}")
        self.wait_for(f"() => !{PANEL}.sessionContext.session", 20)


@contextlib.contextmanager
def notebook_page(lab: Lab, chromium: str, name: str) -> Iterator[NotebookPage]:
    """A fresh browser with the notebook `name` of `lab` open and its kernel ready."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium, args=list(FLAGS), timeout=60_000)
        try:
            notebook = NotebookPage(browser.new_page(viewport=VIEW), lab)
            notebook.open(name)
            yield notebook
            notebook.close()
        finally:
            browser.close()


PANEL = "window.jupyterapp?.shell.currentWidget"
KERNEL_IDLE = f"() => {PANEL}?.sessionContext?.session?.kernel?.status === 'idle'"
# Asked of the notebook's model, which knows every cell: the page itself may leave out what is not in view.
FINISHED = f"""() => {{
    const cells = [...{PANEL}.content.model.cells].filter(cell => cell.type === 'code');
    return cells.every(cell => cell.executionCount && cell.executionState === 'idle') && ({KERNEL_IDLE})();
}}"""
FAILED = f"""() => document.querySelector('.jp-Dialog')?.innerText ||
    [...({PANEL}?.content?.model?.cells ?? [])].filter(cell => cell.type === 'code')
        .flatMap(cell => cell.sharedModel.outputs).find(output => output.output_type === 'error')?.evalue"""
STATE = f"""() => JSON.stringify([
    [...({PANEL}?.content?.model?.cells ?? [])].map(cell => [cell.executionCount, cell.executionState]),
    {PANEL}?.sessionContext?.session?.kernel?.status,
])"""
