"""Two processes with gloo on one machine do what one process does with twice the batch, and one of them speaks."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lorabook.data.batches import epoch_plan, share_of_rank
from tests.kit import processes
from tests.kit.runs import TRAIN, assert_close, config
from tests.kit.two_processes import STEPS

SCRIPT = "tests.kit.two_processes"
ROOT = Path(__file__).parents[2]
# `accelerate launch --multi_gpu`, on a free port. Without a GPU it starts the processes all the same, where `--cpu`
# starts one, whatever the number asked for.
LAUNCH = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
LAUNCH += ["--main_process_port", "0"]
STEP = re.compile(r"^step (\d+)/\d+  loss ([\d.]+)", re.MULTILINE)
FINETUNE = ["-m", "lorabook", "finetune", "--rows", "30", "--max-length", "96", "--r", "2", "--alpha", "4"]
FINETUNE += ["--steps", "2", "--micro-tokens", "128"]


def start(folder: Path, *command: str, launcher: Sequence[str] = (), together: bool = False) -> str:
    """Run Python with `command` in `folder`, by a launcher, as two processes or alone; what it printed."""
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "home"), "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])
    if together:
        return processes.run_two(*command, cwd=folder, env=environment)
    if launcher:
        command = (*launcher, *command)
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    else:
        done = processes.run(*command, cwd=folder, env=environment, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def plan() -> list[list[list[list[int]]]]:
    """The first epoch's steps: of each process its micro-batches, as rows."""
    settings = config(batch_tokens=150)
    steps = epoch_plan([len(e.input_ids) for e in TRAIN], settings.micro_tokens, settings.batch_tokens, 0, 0)
    return [[share_of_rank(micro, rank, 2) for rank in range(2)] for micro in steps]


def test_the_toy_s_batches_are_as_uneven_as_real_ones():
    """Processes with different label tokens, a step of several micro-batches for each, one where a process has less."""
    labels = [[sum(TRAIN[i].label_tokens for rows in mine for i in rows) for mine in step] for step in plan()]
    assert all(first != second for first, second in labels)
    assert any(len(mine) > 1 for step in plan() for mine in step)
    assert any([] in mine for step in plan() for mine in step)


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    said = [
        start(one, "-m", SCRIPT, "150", str(one)),
        start(two, "-m", SCRIPT, "75", str(two), together=True),
    ]

    for name in ("whole", "resumed"):
        mine = json.loads((one / f"{name}-0.json").read_text())["steps"]
        for rank in range(2):
            theirs = json.loads((two / f"{name}-{rank}.json").read_text())["steps"]
            assert len(mine) == len(theirs) == STEPS
            for a, b in zip(mine, theirs):
                assert b["loss"] == pytest.approx(a["loss"], rel=1e-5)
                assert (b["tokens"], b["label_tokens"]) == (a["tokens"], a["label_tokens"])
    for rank in range(2):
        for name in ("gradients", "whole", "resumed"):
            assert_close(load_file(two / f"{name}-{rank}.safetensors"), load_file(one / f"{name}-0.safetensors"))
        ends = [load_file(two / f"{name}-{rank}.safetensors") for name in ("whole", "resumed")]
        assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])  # stopped and resumed, bit for bit

    # the held-out loss is the same, of the same tokens, of which each process had a share; of a single row one had all
    before, rows = (json.loads((folder / "measured-0.json").read_text()) for folder in (one, two))
    other = json.loads((two / "measured-1.json").read_text())
    for alone, first, second in zip(before, rows, other, strict=True):
        assert first["loss"] == second["loss"] == pytest.approx(alone["loss"], rel=1e-5)
        assert first["tokens"] == second["tokens"] == alone["tokens"] == alone["passed"]
        assert first["passed"] + second["passed"] == alone["tokens"]
    assert 0 < other[0]["passed"] < before[0]["passed"] and other[1]["passed"] == 0
    measured = [json.loads((folder / "whole-0.json").read_text())["held_out"] for folder in (one, two)]
    assert [loss for _, loss in measured[1]] == pytest.approx([loss for _, loss in measured[0]], rel=1e-5)

    # dropout draws of its own for each process, and after resuming no process begins again with what it drew first
    files = [two / f"random-{name}-{rank}.safetensors" for name in ("whole", "resumed") for rank in range(2)]
    begins = [load_file(file)["first"] for file in files]
    assert not any(torch.equal(begins[i], begins[j]) for i, j in ((0, 1), (2, 3), (1, 3)))

    # the whole run, three steps until the stop button was pressed in one process, and the rest
    assert [int(step) for step, _ in STEP.findall(said[1])] == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    assert STEP.findall(said[1]) == STEP.findall(said[0])
    assert (two / "run-0").is_dir() and not (two / "run-1").exists()
    for folder in ("run-0", "parts"):
        files = sorted(str(f.relative_to(one)) for f in (one / folder).rglob("*"))
        assert sorted(str(f.relative_to(two)) for f in (two / folder).rglob("*")) == files
        assert {"history.json", "run.json", "checkpoints"} == {f.name for f in (two / folder).iterdir()}


@pytest.mark.slow
def test_the_command_line_under_accelerate_launch(tmp_path):
    """The same adapter and the same words as from one process; rates, memory and the folder's name apart."""
    one, two = tmp_path / "one", tmp_path / "two"
    said = [
        start(one, *FINETUNE, "--batch-tokens", "512", "--output", "adapter"),
        start(two, *FINETUNE, "--batch-tokens", "256", "--output", "adapter", launcher=LAUNCH),
    ]
    others = ("tokens per", "peak", "[Gloo]")  # PyTorch 2.9 announces its process group
    said = [re.sub(r"  [\d,]+ tokens/s.*", "", text) for text in said]
    lines = [[x for x in text.splitlines() if x and not x.startswith(others)] for text in said]
    assert lines[1] == lines[0] and lines[0][-3].startswith("held-out loss: ")
    adapters = [load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (one, two)]
    assert_close(*adapters)
    assert any(tensor.abs().max() > 1e-3 for name, tensor in adapters[1].items() if "lora_B" in name)
    steps = [json.loads((folder / "adapter" / "history.json").read_text())["steps"] for folder in (one, two)]
    assert [s["loss"] for s in steps[1]] == pytest.approx([s["loss"] for s in steps[0]], rel=1e-5)
