"""A model in shards: two gloo processes do what one does with twice the batch, and each holds half of it."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from lorabook.errors import SettingError
from lorabook.models.load import load_model
from lorabook.peft_format import save
from lorabook.step.config import TrainConfig
from lorabook.subspace.training import apply_subspace
from lorabook.training.loop import finetune
from lorabook.training.shard import check_shardable, refuse_sharding
from tests.kit.families import CONFIGS, GPT2Config, gpt_bigcode, logits, save_model
from tests.kit.runs import HELD_OUT, TRAIN, assert_close, config, lora_model
from tests.kit.two_shards import CASES, MINUTES, PAUSE, STEPS, TIED, settings, weights

ROOT = Path(__file__).parents[2]
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "--")
ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0", "-m")
FINETUNE = ["lorabook", "finetune", "--rows", "30", "--max-length", "96", "--r", "2", "--alpha", "4", "--output", "run"]
FINETUNE += ["--steps", "8", "--micro-tokens", "128"]
LARGER = GPT2Config(vocab_size=4096, n_positions=32, n_embd=512, n_layer=6, n_head=8, bos_token_id=0, eos_token_id=0)


def launch(folder: Path, *command: str) -> subprocess.Popen:
    folder.mkdir(exist_ok=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "home"), "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, *command: str) -> str:
    """What Python with `command` printed."""
    process = launch(folder, *command)
    said, _ = process.communicate(timeout=150)
    assert process.returncode == 0, said[-4000:]
    return said


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """What two processes wrote."""
    folder = tmp_path_factory.mktemp("two")
    save_model(folder / "base", LARGER).half().save_pretrained(folder / "base")
    run(folder, *TORCHRUN, "tests.kit.two_shards", str(folder), str(folder / "base"))
    return folder


@pytest.fixture(scope="module")
def said(two) -> list[dict[str, Any]]:
    return [json.loads((two / f"said-{rank}.json").read_text()) for rank in range(2)]


@pytest.fixture(scope="module")
def one(tmp_path_factory) -> dict[str, tuple[Any, Any, Path]]:
    """Of one process with twice the batch: model, history and adapter of each case."""
    folder, ends = tmp_path_factory.mktemp("one"), {}
    for name, make in CASES.items():
        model = make()
        history = finetune(model, TRAIN, HELD_OUT, settings(150), output=folder / name)
        ends[name] = (model, history, folder)
    save(ends[TIED][0], folder / "adapter", "toy")
    return ends


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_two_shards_are_one_process_with_twice_the_batch(name, one, two, said):
    model, history, folder = one[name]
    near = 2e-3 if "bf16" in name else 1e-5
    for rank in range(2):
        theirs = said[rank][name]
        assert [s["loss"] for s in theirs["steps"]] == pytest.approx(history.losses, rel=near)
        assert [s["grad_norm"] for s in theirs["steps"]] == pytest.approx([s.grad_norm for s in history.steps], rel=near * 10)
        assert [loss for _, loss in theirs["held_out"]] == pytest.approx([x for _, x in history.held_out], rel=near)
        if "bf16" not in name:
            assert_close(load_file(two / f"{name}-{rank}.safetensors"), weights(model))
    assert len(history.steps) == STEPS and history.held_out[-1][1] < history.held_out[0][1]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_each_process_holds_half_of_the_parameters(name, said):
    assert all(2 * held == whole for whole, held in (said[rank][name]["bytes"] for rank in range(2)))
