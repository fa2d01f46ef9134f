"""The contenders of `benchmarks/train_step.py`: one training step of each, on the same frozen weights and rows."""

import copy
import gc
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GPTBigCodeConfig

from lorabook import LoRAConfig, apply_lora
from lorabook.data.batches import Batch
from lorabook.kernels import faster
from lorabook.memory.counter import StorageCounter
from lorabook.step.config import TrainConfig
from lorabook.step.gradients import gradient_step, set_activation_checkpointing
from lorabook.step.loss import AnswerLoss
from lorabook.step.optimizer import make_optimizer, trained

TARGETS = ("c_attn", "c_proj", "c_fc")  # the four linear layers of a block
IGNORED = -100  # transformers' label for "none"
Step = Callable[[], object]


def frozen_blocks(blocks: int, vocabulary: int, dtype: torch.dtype, positions: int = 1024) -> nn.Module:
    """Blocks of StarCoderBase-1B's width with random weights, in training mode, without dropouts of their own."""
    torch.manual_seed(0)
    sizes = {"n_embd": 2048, "n_head": 16, "n_inner": 8192, "n_layer": blocks, "n_positions": positions}
    dropouts = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.0)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    config = GPTBigCodeConfig(**sizes, **dropouts, **ends, vocab_size=vocabulary)
    return AutoModelForCausalLM.from_config(config, dtype=dtype).requires_grad_(False).train()


def batch_of(rows: int, sequence: int, vocabulary: int) -> Batch:
    """Random rows whose second half is the answer."""
    ids = torch.randint(vocabulary, (rows, sequence), generator=torch.Generator().manual_seed(0))
    places = torch.arange(rows * sequence).view(rows, sequence)[:, sequence // 2 - 1 : -1]
    return Batch(ids, places.flatten(), ids[:, sequence // 2 :].flatten())


def floor(base: nn.Module, batch: Batch) -> Step:
    """Forward and backward pass of the frozen model down to the embedding's output: no training can take less."""
    model = _sharing(base)
    loss = AnswerLoss(model)
    model.get_input_embeddings().register_forward_hook(lambda module, inputs, out: out.requires_grad_())  # pyright: ignore
    return lambda: gradient_step(loss, batch, 1 / len(batch.labels), Tensor.backward)


def lorabook(base: nn.Module, batch: Batch, r: int = 16, dropout: float = 0.0) -> Step:
    model = _sharing(base)
    apply_lora(model, LoRAConfig(r=r, alpha=2 * r, dropout=dropout, targets=TARGETS))
    loss = AnswerLoss(model)

    def gradients() -> None:
        with faster(model):  # as `finetune` does
            gradient_step(loss, batch, 1 / len(batch.labels), Tensor.backward)

    return _trains(model, gradients)


def peft(base: nn.Module, batch: Batch, r: int = 16, dropout: float = 0.0, chunked: bool = False) -> Step:
    """PEFT's layers, with the loss that transformers forms from all logits, or `chunked` with ours."""
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(r=r, lora_alpha=2 * r, lora_dropout=dropout, target_modules=list(TARGETS), task_type="CAUSAL_LM")
    model: Any = get_peft_model(_sharing(base), lora)  # pyright: ignore[reportArgumentType]
    model.train()
    if chunked:
        loss = AnswerLoss(model.base_model.model)
        return _trains(model, lambda: gradient_step(loss, batch, 1 / len(batch.labels), Tensor.backward))
    labels = torch.full_like(batch.input_ids, IGNORED).flatten()
    labels[batch.label_positions + 1] = batch.labels
    labels = labels.view_as(batch.input_ids)
    return _trains(model, lambda: model(input_ids=batch.input_ids, labels=labels, use_cache=False).loss.backward())


CONTENDERS = {
    "floor": floor,
    "lorabook": lorabook,
    "PEFT": peft,
    "PEFT, chunked loss": lambda *args, **changes: peft(*args, **changes, chunked=True),
}


def _sharing(base: nn.Module) -> nn.Module:
    """A copy of the modules around the same frozen weights."""
    return copy.deepcopy(base, {id(p): p for p in base.parameters()})


def _trains(model: nn.Module, gradients: Step) -> Step:
    """`gradients`, clipping and AdamW, as `finetune` and the Trainer do."""
    parameters = [p for _, p in trained(model)]
    optimizer = make_optimizer(model, trained(model), TrainConfig(lr=1e-4))

    def step() -> None:
        gradients()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def take_turns(steps: dict[str, Step], turns: int) -> dict[str, list[float]]:
    """Seconds of every turn, after one that does not count. Who begins changes from turn to turn."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps)
    for turn in range(turns + 1):
        for name in order:
            start = time.perf_counter()
            steps[name]()
            if turn:
                times[name].append(time.perf_counter() - start)
        order.append(order.pop(0))
    return times


def ratios(times: dict[str, list[float]], to: str) -> dict[str, float]:
    """Of every contender, the median ratio of its time to that of `to` in the same turn."""
    return {n: round(statistics.median(a / b for a, b in zip(each, times[to])), 3) for n, each in times.items()}


def memory(name: str, dtype: str, blocks: int, vocabulary: int, rows: int, sequence: int, again: bool) -> dict:
    """Bytes above the frozen weights at the peak of two steps, by live storages and by the process's resident pages.

    A step of one small block comes first, so that what PyTorch loads and compiles at first use belongs to no contender.
    """
    small = CONTENDERS[name](frozen_blocks(1, 64, getattr(torch, dtype), sequence), batch_of(1, 8, 64))
    small()
    del small
    base = frozen_blocks(blocks, vocabulary, getattr(torch, dtype), sequence)
    batch = batch_of(rows, sequence, vocabulary)
    set_activation_checkpointing(base, again, torch.device("cpu"))
    if name.startswith("PEFT") and again:
        base.enable_input_require_grads()  # pyright: ignore[reportCallIssue] - or checkpoints would cut the gradient
    step = CONTENDERS[name](base, batch)
    gc.collect()
    static = sum(p.nbytes for p in base.parameters()) + sum(b.nbytes for b in base.buffers())
    before = _resident()
    step()
    step()
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    with StorageCounter([*base.parameters(), *base.buffers()]) as counter:
        step()
        step()
    return {"storages": counter.peak - static, "process": process - before}


def _resident() -> int:
    """Bytes of this process in memory now; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
