"""Every place where a run leaves something, searched for an access token planted in the environment."""

import json
import os
from pathlib import Path

from tests.faults.rows import Row
from tests.kit import processes
from tests.kit.hub_stub import LoopbackHub

TOKEN = "hf_planted_accepted"
POST = "<p>How do I print?</p><pre><code>import os\nprint(os)</code></pre>"
FAILING = (
    "from lorabook.models.load import load_model\nload_model('o/broken', device='cpu')",
    "from lorabook.data import load\nload('o/rows', rows=5)",
    "from lorabook.diagnosis import machine\nprint(*machine.examine(), sep='\\n')",
)


def run(folder: Path, model: Path) -> list[Row]:
    """A run from the command line on a gated model, questions to its adapter, and a notebook whose cells fail."""
    folder.mkdir(parents=True)
    rows = [{"question_id": i, "title": "t", "question_body": f"{POST} {i}", "answer_body": POST} for i in range(8)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    said, adapter = {}, folder / "adapter"
    with LoopbackHub() as hub:
        hub.add("o/gated", model, gated=True)
        hub.accept(TOKEN, "o/gated")
        hub.add("o/broken", model, fail_times=999, fail_status=403, echo=True)
        hub.add("o/rows", model, "datasets", fail_times=999, fail_status=403, echo=True)
        environment = hub.environment(folder / "home", TOKEN) | {"LORABOOK_MODEL": "pocket", "HF_DEBUG": ""}
        tune = ["finetune", "--model", "o/gated", "--data", str(folder / "rows.jsonl"), "--steps", "2"]
        for arguments in (
            [*tune, "--max-length", "64", "--r", "2", "--output", str(adapter)],
            ["ask", "--adapter", str(adapter), "--max-new-tokens", "2", "why?"],
            ["finetune", "--model", "o/broken", "--output", str(folder / "none")],
            ["doctor"],
        ):
            done = processes.run("-m", "lorabook", *arguments, env=environment, timeout=600)
            said[" ".join(arguments[:3])] = done.stdout + done.stderr
        said["a notebook whose cells fail"] = _notebook(folder, environment)
    for path in filter(Path.is_file, folder.rglob("*")):
        said[str(path.relative_to(folder))] = path.read_bytes().decode(errors="replace")
    needed = {"adapter/run.json", "adapter/history.json", "adapter/adapter_config.json", "failing.ipynb"}
    wrong = [f"it is in {place}" for place, text in said.items() if TOKEN in text or TOKEN[3:] in text]
    wrong += [f"no {place}" for place in sorted(needed - said.keys())]
    outcome = "; ".join(wrong) or "in none: output, logs, exceptions, notebook, run, history, adapter, cache"
    return [Row("a planted token, by place searched", len(said), outcome, not wrong)]


def _notebook(folder: Path, environment: dict[str, str]) -> str:
    """The text of a notebook that was run with every exception in its outputs."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in FAILING])
    before = dict(os.environ)
    os.environ.clear()  # HF_HUB_OFFLINE too, if it is set
    os.environ.update(environment)
    try:
        NotebookClient(notebook, timeout=300, allow_errors=True, kernel_name="python3").execute()
    finally:
        os.environ.clear()
        os.environ.update(before)
    path = folder / "failing.ipynb"
    nbformat.write(notebook, path)
    errors = [o.ename for cell in notebook.cells for o in cell.outputs if o.output_type == "error"]
    assert errors == ["NoTokenError", "NetworkError"], errors
    return path.read_text()
