"""Two processes with gloo on one machine do what one process does with twice the batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_runs import assert_close

HERE = Path(__file__).parent
# Not `accelerate launch --cpu`: on a single machine it starts one process, whatever the number asked for.
LAUNCH = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


def start(folder: Path, batch_tokens: int, launcher: tuple[str, ...]) -> None:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, *launcher, str(HERE / "two_processes.py"), str(batch_tokens), str(folder)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HOME": str(folder), "CUDA_VISIBLE_DEVICES": ""}
    environment["PYTHONPATH"] = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(HERE)])
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    start(one, 150, ())
    start(two, 75, LAUNCH)
    histories = [json.loads((folder / "history-0.json").read_text()) for folder in (one, two)]
    for mine, theirs in zip(histories[0]["steps"], histories[1]["steps"], strict=True):
        assert theirs["loss"] == pytest.approx(mine["loss"], rel=1e-5)
        assert (theirs["tokens"], theirs["label_tokens"]) == (mine["tokens"], mine["label_tokens"])
    for rank in range(2):
        for name in ("gradients", "end"):
            assert_close(load_file(two / f"{name}-{rank}.safetensors"), load_file(one / f"{name}-0.safetensors"))
    assert sorted(f.name for f in (two / "checkpoints").iterdir()) == ["step-000004", "step-000005"]
