"""What a user's hands do: every cell run twice, the stop button pressed at any moment, a call made twice.

A notebook passes if every cell ends without an error and prints the second time what it printed the first, and if after
an interruption the same cell and all below it run as if nothing had happened: the cells' checks judge the state
(`tests/notebooks/checks.py`), which alone hold cells whose output differs from run to run. Two notebooks
run at a time, with one thread each. The first code cell imports PyTorch and is left uninterrupted: Python does not
survive a Ctrl-C in the midst of an import.

A call that makes no sense is refused with an error of ours and leaves the model as it was.
"""

import os
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbval.plugin import get_sanitize_patterns

from lorabook import adapters
from lorabook.errors import LorabookError
from lorabook.lora import LoRAConfig, apply_lora
from lorabook.merging import merge, remove, unmerge
from lorabook.peft_format import adapter_file
from lorabook.step.optimizer import trained
from tests.faults import ROOT
from tests.faults.rows import Row
from tests.kit.adapters import adapted
from tests.kit.families import gpt_bigcode
from tests.kit.untouched import assert_untouched, snapshot
from tests.notebooks.checks import checked

NOTEBOOKS = tuple(sorted((ROOT / "notebooks").glob("[0-9]*.ipynb")))
QUICK = ("06_fastfood", "03_rank_and_alpha")  # notebooks that take seconds: what a sample plays
INTERRUPTIONS = 3  # a notebook
CELL_SECONDS = 900
LOST_SECONDS = 60  # beyond ten times what a cell takes; then its message was lost
SHORTEST = 0.05  # seconds that a cell must take to be worth interrupting
FORGIVEN = [(p, r) for p, r in get_sanitize_patterns((ROOT / "tests" / "notebooks" / "nbval_sanitize.cfg").read_text())]


@dataclass
class Played:
    """One run of a notebook: code cells run, seconds each took, interruptions that met their cell at work, faults."""

    notebook: str
    cells: int = 0
    seconds: list[float] = field(default_factory=list)
    met: int = 0
    faults: list[str] = field(default_factory=list)


@contextmanager
def kernel(path: Path, folder: Path) -> Iterator[tuple[NotebookClient, list[tuple[int, Any]]]]:
    """A notebook with a kernel of its own in an empty folder: the client, and its code cells by their index."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = checked(path.stem, cell.get("id", ""), cell.source)
    place = folder / path.stem
    place.mkdir(parents=True)
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "LORABOOK_MODEL": "pocket",
        "LORABOOK_OUTPUT": str(place / "runs" / "final"),
    }
    client = NotebookClient(
        notebook, timeout=CELL_SECONDS, kernel_name="python3", resources={"metadata": {"path": str(place)}}
    )
    with client.setup_kernel(env=environment):
        yield client, [(i, cell) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]


def printed(cell: Any) -> str:
    """The text a cell has printed or shown, without what differs from run to run."""
    streams = [output.text for output in cell.outputs if output.output_type == "stream"]
    shown = [output.data.get("text/plain", "") for output in cell.outputs if "data" in output]
    text = "\n".join(["".join(streams), *shown])
    for pattern, replacement in FORGIVEN:
        text = re.sub(pattern, replacement, text)
    return text


def twice(path: Path, folder: Path) -> Played:
    """Run every code cell of the notebook twice in a row."""
    played = Played(path.stem)
    with kernel(path, folder) as (client, cells):
        for count, (i, cell) in enumerate(cells, 1):
            began, first = time.monotonic(), None
            try:
                client.execute_cell(cell, i)
                played.seconds.append(time.monotonic() - began)
                first = printed(cell)
                client.execute_cell(cell, i)
            except CellExecutionError as error:
                played.faults.append(f"{path.stem}, code cell {count}: {error.ename}: {error.evalue}")
                if first is None:
                    break
                continue
            played.cells += 1
            ignored = "NBVAL_IGNORE_OUTPUT" in cell.source or "nbval-ignore-output" in cell.metadata.get("tags", ())
            if not ignored and printed(cell) != first:
                played.faults.append(f"{path.stem}, code cell {count} prints something else the second time")
    return played


def interrupted(path: Path, seconds: list[float], seed: int, folder: Path) -> Played:
    """Run the notebook, with Ctrl-C at some moment of three of its cells, drawn by `seed`; those are then run again.

    `seconds` is what each code cell takes: those drawn take long enough to be met, and are met within that time.
    """
    played, draw = Played(path.stem), random.Random(f"{seed} {path.stem}")
    long = [n for n, s in enumerate(seconds) if n > 0 and s >= SHORTEST]
    chosen = {n: draw.uniform(0.2, 0.8) * seconds[n] for n in draw.sample(long, min(INTERRUPTIONS, len(long)))}
    with kernel(path, folder) as (client, cells):
        for count, (i, cell) in enumerate(cells):
            try:
                if count in chosen:
                    played.met += _stopped(client, cell, i, chosen[count])
                client.execute_cell(cell, i)
            except CellExecutionError as error:
                after = ", ".join(str(n + 1) for n in sorted(chosen) if n <= count)
                place = f"{path.stem}, code cell {count + 1}, interrupted before: {after}"
                played.faults.append(f"{place}: {error.ename}: {error.evalue}")
                break
            played.cells += 1
    return played


def _stopped(client: NotebookClient, cell: Any, i: int, delay: float) -> bool:
    """Run `cell` and press Ctrl-C after `delay` seconds; whether the cell ended otherwise than it does by itself.

    A Ctrl-C that meets ipykernel between two messages can cost it the cell's own: it is idle then, and never answers.
    """
    # The kernel leads a process group of its own, which is what the stop button of Jupyter signals.
    timer = threading.Timer(delay, os.killpg, (client.km.provisioner.pid, signal.SIGINT))
    ended = time.monotonic() + delay
    client.timeout = LOST_SECONDS + round(10 * delay)
    timer.start()
    try:
        client.execute_cell(cell, i)
        return time.monotonic() > ended  # it swallowed the interruption, as a training run does
    except CellExecutionError:
        return True
    except CellTimeoutError:
        return False
    finally:
        client.timeout = CELL_SECONDS
        timer.cancel()
        timer.join()


CONFIG = LoRAConfig(r=4, alpha=8, targets=("c_attn", "c_fc", "wte"))


def _merged() -> Any:
    model = adapted(gpt_bigcode(), CONFIG)
    merge(model)
    return model


def _named() -> Any:
    model = gpt_bigcode()
    adapters.add(model, "first", CONFIG)
    adapters.activate(model, "first")
    return model


def _load(model: Any, folder: Path) -> None:
    adapter_file.load(model, adapter_file.save(adapted(gpt_bigcode(), CONFIG), folder))


# What hands do: (how the model is, what is called then).
CALLS: dict[str, tuple[Callable[[], Any], Callable[[Any, Path], object]]] = {
    "LoRA applied to a model that has it": (lambda: adapted(gpt_bigcode(), CONFIG), lambda m, _: apply_lora(m, CONFIG)),
    "LoRA applied to a merged model": (_merged, lambda m, _: apply_lora(m, CONFIG)),
    "LoRA applied beside an active adapter": (_named, lambda m, _: apply_lora(m, CONFIG)),
    "merged twice": (_merged, lambda m, _: merge(m)),
    "unmerged when not merged": (lambda: adapted(gpt_bigcode(), CONFIG), lambda m, _: unmerge(m)),
    "a merged model trained": (_merged, lambda m, _: trained(m)),
    "a file loaded over LoRA layers": (lambda: adapted(gpt_bigcode(), CONFIG), _load),
    "a file loaded over an active adapter": (_named, _load),
    "a file loaded over a merged model": (_merged, _load),
    "an adapter added under a name that is taken": (_named, lambda m, _: adapters.add(m, "first", CONFIG)),
    "an adapter switched while merged": (_merged, lambda m, _: adapters.deactivate(m)),
    "removed when nothing is there": (gpt_bigcode, lambda m, _: remove(m)),
    "a merged model saved as an adapter": (_merged, adapter_file.save),
    "a plain model saved as an adapter": (gpt_bigcode, adapter_file.save),
}


def refused(make: Callable[[], Any], call: Callable[[Any, Path], object], folder: Path) -> str | None:
    """None if `call` is refused with an error of ours, the model as it was; otherwise what happened."""
    model = make()
    before = snapshot(model)
    try:
        call(model, folder)
    except LorabookError as error:
        if not (error.problem and error.advice):
            return f"{type(error).__name__} without advice"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    else:
        return "went through in silence"
    try:
        assert_untouched(model, before)
    except AssertionError:
        return "refused, but the model has changed"
    return None


def run(sample: int | None, seed: int, folder: Path) -> list[Row]:
    """Every notebook, or the first `sample` of QUICK."""
    chosen = [path for path in NOTEBOOKS if sample is None or path.stem in QUICK[:sample]]
    with ThreadPoolExecutor(2) as pool:
        first = list(pool.map(lambda path: twice(path, folder / "twice"), chosen))
        paces = [played.seconds for played in first]
        second = list(pool.map(lambda path, pace: interrupted(path, pace, seed, folder / "interrupted"), chosen, paces))
    met = sum(played.met for played in second)
    wrong = [f"{name}: {what}" for name, call in CALLS.items() if (what := refused(*call, folder / "calls"))]
    return [
        _row("a cell run twice", sum(p.cells for p in first), _faults(first), "the second time as the first"),
        _row(
            "a notebook interrupted three times",
            INTERRUPTIONS * len(second),
            _faults(second),
            f"{met} stopped a cell at work; that cell again and all below it ran to the end",
        ),
        _row("a call that makes no sense", len(CALLS), wrong, "refused in words of ours, the model as it was"),
    ]


def _faults(played: list[Played]) -> list[str]:
    return [fault for one in played for fault in one.faults]


def _row(fault: str, tries: int, wrong: list[str], outcome: str) -> Row:
    return Row(fault, tries, "; ".join(wrong) or outcome, not wrong)
