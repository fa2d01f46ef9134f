"""A model in shards: two gloo processes do what one does with twice the batch, and each holds half of it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig
from lorabook.memory.estimate import estimate
from lorabook.memory.plan import Plan
from lorabook.models.load import load_model
from lorabook.peft_format import save
from lorabook.step.config import TrainConfig
from lorabook.subspace.training import apply_subspace
from lorabook.training.loop import finetune
from lorabook.training.shard import check_shardable, refuse_sharding
from tests.kit import processes
from tests.kit.families import GPT2Config, gpt_bigcode, logits, save_model
from tests.kit.runs import HELD_OUT, TRAIN, assert_close, config, lora_model
from tests.kit.two_shards import CASES, MINUTES, PAUSE, STEPS, TIED, settings, weights

ROOT = Path(__file__).parents[2]
TORCHRUN = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "--")
ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--main_process_port", "0")
FINETUNE = ["lorabook", "finetune", "--rows", "30", "--max-length", "96", "--r", "2", "--alpha", "4", "--output", "run"]
FINETUNE += ["--steps", "24", "--micro-tokens", "128"]
LARGER = GPT2Config(vocab_size=4096, n_positions=32, n_embd=512, n_layer=6, n_head=8, bos_token_id=0, eos_token_id=0)


def environment(folder: Path) -> dict[str, str]:
    """That of a process which runs in `folder`, without a GPU."""
    variables = os.environ | {"OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "home"), "CUDA_VISIBLE_DEVICES": ""}
    path = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)])
    return variables | {"PYTHONPATH": path}


def launch(folder: Path, *command: str, within: Sequence[str] = ()) -> subprocess.Popen:
    """Python with `command` in `folder`; `within` a program that starts it."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [*within, sys.executable, *command],
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def run(folder: Path, *command: str) -> str:
    """What Python with `command` printed."""
    return end(launch(folder, *command))


def end(process: subprocess.Popen) -> str:
    try:
        said, _ = process.communicate(timeout=150)
    finally:
        process.terminate()
    assert process.returncode == 0, said[-4000:]
    return said


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> tuple[Path, str]:
    """The folder and the words of a command line run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    done = processes.run("-m", *FINETUNE, "--batch-tokens", "512", cwd=folder, env=environment(folder))
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def assert_same_run(alone: tuple[Path, str], folder: Path, words: str) -> None:
    said = [re.search(r"held-out loss: .*", text) for text in (alone[1], words)]
    assert said[0] and said[1] and said[0][0] == said[1][0]
    assert_close(*(load_file(each / "run/adapter_model.safetensors") for each in (alone[0], folder)), 1e-4)


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> Path:
    """What two processes wrote."""
    folder = tmp_path_factory.mktemp("two")
    save_model(folder / "base", LARGER).half().save_pretrained(folder / "base")
    command = ("-m", "tests.kit.two_shards", str(folder), str(folder / "base"))
    processes.run_two(*command, cwd=folder, env=environment(folder))
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
    model, history, _ = one[name]
    near, norms = 2e-3 if "bf16" in name else 1e-5, [s.grad_norm for s in history.steps]
    for rank in range(2):
        theirs = said[rank][name]
        assert [s["loss"] for s in theirs["steps"]] == pytest.approx(history.losses, rel=near)
        assert [s["grad_norm"] for s in theirs["steps"]] == pytest.approx(norms, rel=10 * near)
        assert [loss for _, loss in theirs["held_out"]] == pytest.approx([x for _, x in history.held_out], rel=near)
        if "bf16" not in name:
            assert_close(load_file(two / f"{name}-{rank}.safetensors"), weights(model))
    assert len(history.steps) == STEPS and history.held_out[-1][1] < history.held_out[0][1]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_each_process_holds_half_of_the_parameters(name, said):
    assert all(2 * held == whole for whole, held in (said[rank][name]["bytes"] for rank in range(2)))


@pytest.mark.slow
def test_the_estimate_knows_what_a_process_holds(said):
    model = gpt_bigcode()
    for name, method in ((TIED, LoRAConfig(r=4, targets=("all-linear", "wte"))), ("all weights", 1.0)):
        parts = estimate(model.config, Plan(method, 1, 16, "fp32", gpus=2, shard=True)).components
        assert parts["frozen weights"] + parts["trainable weights"] == said[0][name]["bytes"][1]


@pytest.mark.slow
def test_a_stopped_run_goes_on_bit_for_bit(two, said):
    assert [len(said[rank]["paused"]["steps"]) for rank in range(2)] == [PAUSE, PAUSE]
    assert said[0]["paused"]["stopped"] == "interrupted"
    for rank in range(2):
        assert [s["loss"] for s in said[rank]["resumed"]["steps"]] == [s["loss"] for s in said[rank][TIED]["steps"]]
        whole, resumed = (load_file(two / f"{name}-{rank}.safetensors") for name in (TIED, "resumed"))
        assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert not any("resumed apart" in each for each in said)  # one of them found a checkpoint, the other none


@pytest.mark.slow
def test_the_files_are_those_of_one_process(one, two):
    """The adapter, which PEFT loads; the record of the run, with the fingerprint of the base; the checkpoints."""
    mine, theirs = one[TIED][2], two
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (mine / "adapter" / name).is_file() and (theirs / "adapter" / name).is_file()
    assert (theirs / "adapter/adapter_config.json").read_text() == (mine / "adapter/adapter_config.json").read_text()
    files = [folder / "adapter/adapter_model.safetensors" for folder in (mine, theirs)]
    headers = []
    for file in files:
        with safe_open(file, "pt") as opened:
            headers.append(opened.metadata())
    assert headers[0] == headers[1]
    assert_close(*(load_file(file) for file in files))
    loaded = peft.PeftModel.from_pretrained(gpt_bigcode(), str(theirs / "adapter"))
    torch.testing.assert_close(logits(loaded), logits(one[TIED][0]), rtol=1e-4, atol=1e-4)

    records = [json.loads((folder / TIED / "run.json").read_text()) for folder in (mine, theirs)]
    for record in records:
        for setting in ("shard", "batch_tokens"):
            del record["training"][setting]
    del records[0]["labels"], records[1]["labels"]
    assert records[0] == records[1]
    checkpoints = [load_file(folder / TIED / "checkpoints/step-000005/state.safetensors") for folder in (mine, theirs)]
    for tensors in checkpoints:
        tensors.pop("rng.cpu")
    assert_close(*checkpoints)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_no_process_ever_holds_the_whole_base(two, said):
    """In memory of its own: fp16 weights stay in their files, and come out of them a block at a time, as fp32."""
    for files in (each["files"] for each in said):
        assert files["formats"] == ["torch.float32"] and 2 * files["local"] == files["whole"]
        block = 4 * 12 * LARGER.n_embd**2
        assert files["mapped"] < block
        assert files["local"] - block < files["read"] < files["local"] + block < 0.7 * files["whole"]


@pytest.mark.slow
def test_minutes_end_a_run_at_the_same_step_everywhere(said):
    steps = [len(each["minutes"]["steps"]) for each in said]
    assert steps[0] == steps[1] > 1 and all(each["minutes"]["stopped"] == "finished" for each in said)
    assert all(each["seconds"] < 60 * MINUTES + 10 for each in said)


@pytest.mark.slow
def test_what_several_processes_are_refused_or_told(said):
    assert not any({"sharded twice", "measured in shards", "asked in shards"} & each.keys() for each in said)
    for each in said:
        assert each["no memory"].startswith("Memory ran out at step 1, with ") and "micro_tokens" in each["no memory"]


def test_what_is_not_sharded():
    with pytest.raises(SettingError, match=r"one process only.*torchrun"):
        finetune(lora_model(), TRAIN, HELD_OUT, config(shard=True))
    with pytest.raises(SettingError, match=r"4 bits cannot be sharded: bitsandbytes"):
        refuse_sharding(2, packed=True)
    model = gpt_bigcode()
    check_shardable(model, 2)
    model._no_split_modules = None
    with pytest.raises(SettingError, match="does not name the blocks"):
        check_shardable(model, 2)
    apply_subspace(model.requires_grad_(), 10)
    with pytest.raises(SettingError, match="subspace"):
        check_shardable(model, 2)


def test_weights_that_stay_in_their_files(tmp_path):
    save_model(tmp_path / "base")
    loaded = load_model(str(tmp_path / "base"), in_files=True, device="cpu")
    with pytest.raises(SettingError, match="still in their files"):
        finetune(loaded.model.requires_grad_(), TRAIN, HELD_OUT, TrainConfig(steps=1))
    with pytest.raises(SettingError, match="4 bits as they are read"):
        load_model("pocket", in_files=True, quantize="nf4")


@pytest.fixture
def hosts() -> Iterator[list[str]]:
    """Two network namespaces that a cable joins, as two machines, or none; the first one's address is 10.77.0.1."""
    names = [f"lorabook-{os.getpid()}-{i}" for i in range(2)]
    ends = [f"lb{os.getpid()}{end}" for end in "ab"]
    commands = [f"netns add {name}" for name in names]
    commands.append(f"link add {ends[0]} netns {names[0]} type veth peer name {ends[1]} netns {names[1]}")
    for i in range(2):
        commands += [f"-n {names[i]} addr add 10.77.0.{i + 1}/24 dev {ends[i]}", f"-n {names[i]} link set lo up"]
        commands.append(f"-n {names[i]} link set {ends[i]} up")
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):  # they take root
        yield []
    else:
        yield [f"ip netns exec {name} env GLOO_SOCKET_IFNAME={end}" for name, end in zip(names, ends)]
    finally:
        for name in names:
            with contextlib.suppress(OSError):
                subprocess.run(["ip", "netns", "del", name], capture_output=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals a process group")
def test_two_hosts_do_what_one_process_does_and_after_ctrl_c_another_launcher_goes_on(hosts, alone, tmp_path):
    """Two network namespaces, and a folder for each: the adapter is on the first, and it is one run's.

    As in a terminal, SIGINT goes to the launcher's group, here to that of each host. Where namespaces cannot be made,
    one host has both processes.
    """
    runs = []
    for rank, within in enumerate(hosts or [""]):
        where = ["--nnodes", "2", "--node-rank", str(rank), "--master-addr", "10.77.0.1", "--master-port", "29500"]
        launcher = ["-m", "torch.distributed.run", *where, "-m", "--"] if hosts else TORCHRUN
        command = [*launcher, *FINETUNE, "--batch-tokens", "256", "--shard"]
        runs.append(launch(tmp_path / str(rank), *command, within=within.split()))
    lines = []
    for line in runs[0].stdout or ():
        lines.append(line)
        if line.startswith("step 10/"):
            for process in runs:
                os.killpg(process.pid, signal.SIGINT)
    assert runs[0].wait(60) != 0 and "stopped: interrupted, add --resume to go on\n" in lines, "".join(lines)
    if hosts:
        said, _ = runs[1].communicate(timeout=60)
        assert not any((tmp_path / "1/run").iterdir()) and "step 1/" not in said
    assert (tmp_path / "0/run/adapter_model.safetensors").is_file()
    rest = run(tmp_path / "0", *ACCELERATE, "-m", *FINETUNE, "--batch-tokens", "256", "--shard", "--resume")
    assert_same_run(alone, tmp_path / "0", rest)
