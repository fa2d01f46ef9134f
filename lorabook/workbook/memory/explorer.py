"""The Memory explorer: which part of a training step takes how much memory, and which GPU has room for it."""

from dataclasses import dataclass

from matplotlib.figure import Figure

from lorabook.lora import LoRAConfig
from lorabook.memory.estimate import Estimate, estimate
from lorabook.memory.gpus import GPUS, largest_batch
from lorabook.sizes import size_text
from lorabook.workbook.kit.controls import buttons, label, slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.gpu_room import T4, room_for, title_of
from lorabook.workbook.kit.memory_bars import memory_bars
from lorabook.workbook.kit.models import LOADABLE
from lorabook.workbook.kit.step_controls import plan_of, step_controls

# What the controls offer: what is shown, and what a Plan calls it.
ATTENTIONS = {"fused": "fused", "eager": "eager"}
LOSSES = {"logits in chunks": "chunked", "all logits at once": "plain"}
RANKS = {"full fine-tuning": 0} | {f"LoRA, r = {r}": r for r in (256, 128, 64, 32, 16, 8, 4, 2, 1)}

SPARE = 2**29  # for the CUDA context

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
    "full fine-tuning": MemoryState(r=0),
    "full, AdamW in 8 bits": MemoryState(r=0, optimizer="adamw8bit"),
    "LoRA, checkpointing": MemoryState(checkpointing=True),
    "LoRA, eager, long sequences": MemoryState(sequence=2048, attention="eager"),
    "Llama-2-7B": MemoryState("meta-llama/Llama-2-7b-hf", checkpointing=True),
}


class MemoryExplorer(Explorer):
    """Model, precision, optimizer, LoRA's rank, batch, sequence → stacked components under the memory of GPUs."""

    def __init__(self) -> None:
        controls = step_controls(LOADABLE) | {
            "r": slider("trained", RANKS),
            "attention": buttons("attention", ATTENTIONS),
            "loss": buttons("loss", LOSSES),
        }
        in_order = {name: controls[name] for name in vars(MemoryState())}
        super().__init__(in_order, MemoryState(), figure, readout, PRESETS)


def figure(state: MemoryState, figure: Figure | None = None) -> Figure:
    """The components of full fine-tuning, and beside them those of `state`, as stacked bars under the GPUs."""
    full, chosen = _estimates(state)
    bars, how = {"full fine-tuning": full}, label(RANKS, state.r)
    if state.r:
        bars[how] = chosen
    return memory_bars(bars, GPUS, title_of(label(LOADABLE, state.model), how, chosen, full), figure)


def readout(state: MemoryState) -> str:
    """The same in four lines: what is trained, the peak, the GPUs with room, the largest batch."""
    full, chosen = _estimates(state)
    peak = chosen.predicted_peak
    moment = next(MOMENTS[name] for name, size in chosen.moments.items() if size == peak)
    most = largest_batch(state.model, plan_of(state, method(state.r)), GPUS[T4] - SPARE)
    lines = [
        f"{label(LOADABLE, state.model)}, {label(RANKS, state.r)}: {chosen.trainable:,} of {chosen.parameters:,} "
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
