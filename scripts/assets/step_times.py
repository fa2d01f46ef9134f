"""How long a training step takes with everything trained, with LoRA, and at the least.

    python -m scripts.assets.step_times

Three contenders on the same rows: full fine-tuning; LoRA of rank 16 on all linear layers; and the floor, forward and
backward pass of the frozen model with a gradient for its input alone, which no training through it can go below. The
first two include clipping and AdamW. Two models: pocket, 8 x 256 tokens; and blocks of StarCoderBase-1B's width with
random weights, 1 x 256 tokens. fp32 on the CPU. Contenders take turns, who begins changes, and the median counts. glibc
keeps freed memory: else it is page faults under the gradients of full fine-tuning that are timed. Run it on a quiet
machine.

Writes lorabook/assets/results/rank_and_alpha/step_times.json.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

from lorabook import LoRAConfig, apply_lora
from lorabook.data.batches import Batch
from lorabook.kernels import faster
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.step.gradients import gradient_step
from lorabook.step.loss import AnswerLoss
from lorabook.step.optimizer import make_optimizer, trained
from scripts.assets import records
from scripts.assets.heap import keep_freed_memory

RESULT = Path("lorabook/assets/results/rank_and_alpha/step_times.json")
TURNS, WARM_UP = 30, 3  # a multiple of the contenders: each is first as often as the others
BLOCKS = 2  # of StarCoderBase-1B's width


def pocket() -> nn.Module:
    return load_model("pocket", device="cpu").model


def wide() -> nn.Module:
    torch.manual_seed(0)
    sizes = {"n_embd": 2048, "n_head": 16, "n_inner": 8192, "n_layer": BLOCKS, "vocab_size": 4096, "n_positions": 512}
    dropouts = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.0)
    return GPTBigCodeForCausalLM(GPTBigCodeConfig(**sizes, **dropouts, bos_token_id=0, eos_token_id=0))


def batch_of(rows: int, sequence: int) -> Batch:
    ids = torch.randint(4096, (rows, sequence), generator=torch.Generator().manual_seed(0))
    positions = torch.arange(rows * sequence).view(rows, sequence)[:, :-1].flatten()
    return Batch(ids, positions, ids[:, 1:].flatten())


def floor(model: nn.Module, batch: Batch) -> Callable[[], None]:
    """Forward and backward pass of the frozen model, down to the embedding's output."""
    model.requires_grad_(False)
    loss = AnswerLoss(model)
    model.get_input_embeddings().register_forward_hook(lambda module, inputs, out: out.requires_grad_())  # pyright: ignore

    def step() -> None:
        gradient_step(loss, batch, 1 / len(batch.labels), torch.Tensor.backward)

    return step


def training(model: nn.Module, batch: Batch) -> Callable[[], None]:
    """A whole training step of what requires a gradient in `model`."""
    loss, optimizer = AnswerLoss(model), make_optimizer(model, trained(model), TrainConfig(lr=1e-4))
    parameters = [p for _, p in trained(model)]

    def step() -> None:
        with faster(model):  # as `finetune` does
            gradient_step(loss, batch, 1 / len(batch.labels), torch.Tensor.backward)
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(make: Callable[[], nn.Module], rows: int, sequence: int) -> dict[str, float]:
    batch, lora = batch_of(rows, sequence), make()
    apply_lora(lora, LoRAConfig(r=16, alpha=32))
    contenders = {
        "floor": floor(make(), batch),
        "LoRA": training(lora, batch),
        "full": training(make().requires_grad_(True), batch),
    }
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order = list(contenders)
    for turn in range(WARM_UP + TURNS):
        for name in order:
            start = time.perf_counter()
            contenders[name]()
            if turn >= WARM_UP:
                times[name].append(time.perf_counter() - start)
        order.append(order.pop(0))  # who comes after full fine-tuning finds its caches full of other weights
    return {name: round(statistics.median(each), 4) for name, each in times.items()}


def main() -> None:
    kept = keep_freed_memory()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    record = {
        "threads": torch.get_num_threads(),
        "load": round(load, 1),
        "turns": TURNS,
        "memory_kept": kept,
        "seconds": {},
    }
    for name, make, rows in (("pocket, 8 × 256 tokens", pocket, 8), ("width of the 1B, 1 × 256 tokens", wide, 1)):
        seconds = record["seconds"][name] = measure(make, rows, 256)
        ratios = "  ".join(f"{method} {value / seconds['full']:.2f}" for method, value in seconds.items())
        print(f"{name}: {ratios} of full fine-tuning's {seconds['full'] * 1e3:.0f} ms", flush=True)
    records.write(RESULT, "scripts/assets/step_times.py", record)


if __name__ == "__main__":
    main()
