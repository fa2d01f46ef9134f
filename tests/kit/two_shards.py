"""One of the processes of tests/training/test_shard.py: it trains the toys of CASES in shards, then writes what came.

python -m tests.kit.two_shards OUTPUT BASE      (BASE: the folder of a model that is larger than the toys)
"""

import contextlib
import ctypes
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import save_file
from torch import nn

from lorabook.data.batches import Batch, collate
from lorabook.data.examples import Example
from lorabook.errors import CheckpointError, SettingError, TrainingError
from lorabook.lora import LoRAConfig, apply_lora, gathered
from lorabook.models.load import load_model
from lorabook.peft_format import save
from lorabook.step.config import TrainConfig
from lorabook.training import shard
from lorabook.training.answers import answers
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from tests.kit.families import gpt2, gpt_bigcode, llama
from tests.kit.runs import HELD_OUT, TRAIN, config, stop_at

STEPS, PAUSE, MINUTES = 5, 3, 0.05
M_MMAP_THRESHOLD = -3  # of malloc.h


def adapted(model: nn.Module, targets: tuple[str, ...] = ("all-linear", "wte")) -> nn.Module:
    apply_lora(model, LoRAConfig(r=4, alpha=8, targets=targets))
    return model


CASES: dict[str, Callable[[], nn.Module]] = {
    "GPTBigCode, tied head": lambda: adapted(gpt_bigcode()),
    "GPT-2, Conv1D": lambda: adapted(gpt2()),
    "Llama, head of its own": lambda: adapted(llama(), ("all-linear", "embed_tokens", "lm_head")),
    "base in bf16": lambda: adapted(gpt_bigcode().to(torch.bfloat16)),
    "all weights": lambda: gpt_bigcode().requires_grad_(),
}
TIED = next(iter(CASES))


def settings(batch_tokens: int, **changes: Any) -> TrainConfig:
    usual = {"lr": 1e-3, "steps": STEPS, "clip": 1.0, "checkpoint_every": 2, "activation_checkpointing": True}
    return config(batch_tokens=batch_tokens, **(usual | changes))


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """All of them, with zeros for the bias of the keys.

    It adds the same to every score of a query, which the softmax ignores: its gradient is rounding, and Adam makes
    whole steps of that.
    """
    found = {name: gathered(p.detach()).clone() for name, p in model.named_parameters()}
    for name, bias in found.items():
        if name.endswith("c_attn.bias"):
            queries = found[name.removesuffix("c_attn.bias") + "c_proj.bias"].numel()
            bias[queries : queries + (bias.numel() - queries) // 2] = 0  # then the keys, then as many values
    return found


def own_memory() -> int:
    """Bytes of this process that belong to no file: mapped weights do not count."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("RssAnon:")[2].split()[0])


def read_in_shards(base: Path) -> dict[str, Any]:
    """Train on the weights in `base` for a step. What memory this process took to map them, and to cut them at most."""
    before, seen, cut = own_memory(), [], shard.fully_shard

    def watched(*arguments: Any, **options: Any) -> None:
        seen.append(own_memory())
        cut(*arguments, **options)

    model = adapted(load_model(str(base), in_files=True).model, ("all-linear",))
    seen.append(own_memory())
    shard.fully_shard = watched
    finetune(model, TRAIN, HELD_OUT, settings(75, steps=1, shard=True))
    frozen = [p for p in model.parameters() if not p.requires_grad]
    return {
        "mapped": seen[0] - before,
        "read": max(seen) - seen[0],
        "local": sum(p.to_local().nbytes for p in frozen),
        "whole": sum(p.numel() * p.element_size() for p in frozen),
        "formats": sorted({str(p.dtype) for p in model.parameters()}),
    }


def no_memory(examples: Sequence[Example]) -> Batch:
    """Collates, until the first step: then as on a GPU that is full."""
    if any("_gradients" in frame.name for frame in traceback.extract_stack()):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return collate(examples)


def main(output: str, base: str) -> None:
    folder, training = Path(output), settings(75, shard=True)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1 << 16)  # glibc gives freed weights back at once
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    said: dict[str, Any] = {"files": read_in_shards(Path(base))}  # first, before other models leave memory behind
    models = {name: make() for name, make in CASES.items()}
    for name, model in models.items():
        parameters = {n: p.nbytes for n, p in model.named_parameters()}
        history = finetune(model, TRAIN, HELD_OUT, training, output=folder / name)
        held = {n: p.to_local().nbytes for n, p in model.named_parameters()}
        said[name] = history.to_json() | {"bytes": [sum(parameters.values()), sum(held.values())]}
        save_file(weights(model), folder / f"{name}-{rank}.safetensors")
    save(models[TIED], folder / "adapter", "toy")

    model = CASES[TIED]()  # the button is pressed in the main process alone: no other one logs
    paused = settings(75, shard=True, log_every=1)
    said["paused"] = finetune(model, TRAIN, HELD_OUT, paused, output=folder / "parts", on_log=stop_at(PAUSE)).to_json()
    dist.barrier()
    again = CASES[TIED]()
    said["resumed"] = finetune(again, TRAIN, HELD_OUT, paused, output=folder / "parts", resume=True).to_json()
    save_file(weights(again), folder / f"resumed-{rank}.safetensors")

    began = time.monotonic()
    in_time = settings(75, shard=True, steps=None, minutes=MINUTES)
    said["minutes"] = finetune(CASES["GPT-2, Conv1D"](), TRAIN, HELD_OUT, in_time).to_json()
    said["seconds"] = time.monotonic() - began
    with contextlib.suppress(SettingError):
        finetune(again, TRAIN, HELD_OUT, training)
        said["sharded twice"] = True
    with contextlib.suppress(SettingError):
        answer_loss(again, HELD_OUT)
        said["measured in shards"] = True
    with contextlib.suppress(SettingError):
        answers(again, None, [])
        said["asked in shards"] = True
    with contextlib.suppress(CheckpointError):
        (folder / "parts").rename(folder / "apart-0") if rank == 0 else None
        finetune(CASES[TIED](), TRAIN, HELD_OUT, paused, output=folder / f"apart-{rank}", resume=True)
        said["resumed apart"] = True
    try:
        finetune(CASES[TIED](), TRAIN, HELD_OUT, training, collate=no_memory)
    except TrainingError as error:
        said["no memory"] = str(error)
    (folder / f"said-{rank}.json").write_text(json.dumps(said))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
