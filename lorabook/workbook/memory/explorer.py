"""The Memory explorer: which part of a training step takes how much memory, and which GPU has room for it."""

from dataclasses import dataclass
from typing import Any

from lorabook.lora import LoRAConfig
from lorabook.memory.estimate import Estimate, estimate
from lorabook.memory.gpus import GPUS, SPARE, largest_batch
from lorabook.sizes import size_text
from lorabook.workbook.kit.alive import at_peak
from lorabook.workbook.kit.controls import buttons, label_of, slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.gpu_room import T4, room_for, title_of
from lorabook.workbook.kit.model_sizes import model_sizes
from lorabook.workbook.kit.models import LOADABLE
from lorabook.workbook.kit.step_controls import plan_of, step_controls

# What the controls offer: what is shown, and what a Plan calls it.
ATTENTIONS = {"fused": "fused", "eager": "eager"}
LOSSES = {"logits in chunks": "chunked", "all logits at once": "plain"}
RANKS = {"full fine-tuning": 0} | {f"LoRA at r = {r}": r for r in (256, 128, 64, 32, 16, 8, 4, 2, 1)}

MOMENTS = {
    "forward": "in the forward pass",
    "loss": "while the loss is computed",
    "start of backward": "as the backward pass starts",
    "end of backward": "as the backward pass ends",
    "optimizer step": "in the optimizer's step",
}


@dataclass(frozen=True)
class MemoryState:
    """A setting of the explorer: `r` is LoRA's rank on all linear layers, 0 full fine-tuning; the rest as in `Plan`."""

    model: str = "bigcode/starcoderbase-1b"
    weights: str = "fp16"
    optimizer: str = "adamw"
    r: int = 16
    batch: int = 4
    sequence: int = 512
    checkpointing: bool = False
    attention: str = "fused"
    loss: str = "chunked"


PRESETS = {
    "LoRA": MemoryState(),
    "LoRA, long sequences": MemoryState(sequence=2048),
    "full fine-tuning": MemoryState(r=0),
    "full, AdamW in 8 bits": MemoryState(r=0, optimizer="adamw8bit"),
    "LoRA, checkpointing": MemoryState(checkpointing=True),
    "LoRA, eager, long sequences": MemoryState(sequence=2048, attention="eager"),
    "Llama-2-7B": MemoryState("meta-llama/Llama-2-7b-hf", checkpointing=True),
}


class MemoryExplorer(Explorer):
    """Model, precision, optimizer, LoRA's rank, batch, sequence → what is alive at the peak, over GPUs."""

    def __init__(self) -> None:
        controls = step_controls(LOADABLE) | {
            "r": slider("trained", RANKS),
            "attention": buttons("attention", ATTENTIONS),
            "loss": buttons("loss", LOSSES),
        }
        in_order = {name: controls[name] for name in vars(MemoryState())}
        data = {
            "models": {model: model_sizes(model) for model in LOADABLE.values()},
            "names": list(LOADABLE.items()),
            "ranks": list(RANKS.items()),
            "moments": MOMENTS,
            "gpus": GPUS,
            "spare": SPARE,
        }
        super().__init__("memory/explorer.js", in_order, MemoryState(), shown, PRESETS, data)


def shown(state: MemoryState) -> dict[str, Any]:
    """What is alive at the peak of full fine-tuning, and beside it of `state`, in bytes by component."""
    full, chosen = _estimates(state)
    how = label_of(RANKS, state.r)
    bars = {"full fine-tuning": at_peak(full)} | ({how: at_peak(chosen)} if state.r else {})
    title = title_of(label_of(LOADABLE, state.model), how, chosen, full)
    return {"title": title, "readout": readout(state), "bars": bars, "gpus": GPUS}


def readout(state: MemoryState) -> str:
    """The same in four lines: what is trained, the peak, the GPUs with room, the largest batch."""
    full, chosen = _estimates(state)
    peak = chosen.predicted_peak
    moment = next(MOMENTS[name] for name, size in chosen.moments.items() if size == peak)
    most = largest_batch(state.model, plan_of(state, method(state.r)), GPUS[T4] - SPARE)
    lines = [
        f"{label_of(LOADABLE, state.model)}, {label_of(RANKS, state.r)}: {chosen.trainable:,} of {chosen.parameters:,} "
        f"parameters trained ({chosen.trainable / chosen.parameters:.2%}).",
        f"Peak: {size_text(peak)}, {moment}. Full fine-tuning: {size_text(full.predicted_peak)}.",
        room_for(peak),
        f"Largest batch on a T4, {size_text(SPARE)} left free: {f'{most:,}' if most else 'not one'} of "
        f"{state.sequence:,} tokens.",
    ]
    return "\n".join(lines)


def method(r: int) -> LoRAConfig | float:
    """LoRA of rank r on all linear layers, full fine-tuning for 0. α does not affect memory."""
    return LoRAConfig(r=r) if r else 1.0


def _estimates(state: MemoryState) -> tuple[Estimate, Estimate]:
    """Those of full fine-tuning and of the state itself, all else equal."""
    return estimate(state.model, plan_of(state, 1.0)), estimate(state.model, plan_of(state, method(state.r)))
