"""The Memory explorer: which part of a training step takes how much memory, and which GPU has room for it."""

from dataclasses import dataclass

from matplotlib.figure import Figure

from lorabook.memory.estimate import Estimate, estimate
from lorabook.memory.gpus import GPUS, largest_batch
from lorabook.workbook.kit.controls import buttons, label, slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.gpu_room import T4, room_for, title_of
from lorabook.workbook.kit.memory_bars import memory_bars
from lorabook.workbook.kit.models import LOADABLE
from lorabook.workbook.kit.sizes import size_text
from lorabook.workbook.kit.step_controls import OPTIMIZERS, PRECISIONS, plan_of, step_controls

# What the controls offer: what is shown, and what a Plan calls it.
ATTENTIONS = {"fused": "fused", "eager": "eager"}
LOSSES = {"logits in chunks": "chunked", "all logits at once": "plain"}
SHARES = {f"{share:g}%": share / 100 for share in (100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1)}

MOMENTS = {
    "forward": "in the forward pass",
    "loss": "while the loss is computed",
    "start of backward": "as the backward pass starts",
    "end of backward": "as the backward pass ends",
    "optimizer step": "in the optimizer's step",
}


@dataclass(frozen=True)
class MemoryState:
    """A setting of the explorer: `share` is the part of the parameters that is trained, the rest is as in `Plan`."""

    model: str = "bigcode/starcoderbase-1b"
    weights: str = "fp16"
    optimizer: str = "adamw"
    share: float = 0.01
    batch: int = 4
    sequence: int = 512
    checkpointing: bool = False
    attention: str = "fused"
    loss: str = "chunked"


PRESETS = {
    "1% trained": MemoryState(),
    "full fine-tuning": MemoryState(share=1.0),
    "1%, checkpointing": MemoryState(checkpointing=True),
    "1%, eager, long rows": MemoryState(sequence=2048, attention="eager", loss="plain"),
    "Llama-2-7B": MemoryState("meta-llama/Llama-2-7b-hf"),
}


class MemoryExplorer(Explorer):
    """Model, precision, optimizer, share trained, batch, sequence → stacked components under the memory of GPUs."""

    def __init__(self) -> None:
        controls = step_controls(LOADABLE) | {
            "share": slider("share trained", SHARES),
            "attention": buttons("attention", ATTENTIONS),
            "loss": buttons("loss", LOSSES),
        }
        in_order = {name: controls[name] for name in vars(MemoryState())}
        super().__init__(in_order, MemoryState(), figure, readout, PRESETS)


def figure(state: MemoryState, figure: Figure | None = None) -> Figure:
    """The components of full fine-tuning, and beside them those of `state`, as stacked bars under the GPUs."""
    full, chosen = _estimates(state)
    bars, trained = {"full fine-tuning": full}, f"{label(SHARES, state.share)} trained"
    if state.share < 1:
        bars[trained] = chosen
    return memory_bars(bars, GPUS, title_of(label(LOADABLE, state.model), trained, chosen, full), figure)


def readout(state: MemoryState) -> str:
    """The same in sentences: the setting, the peak, each component, the GPUs with room, the largest batch."""
    full, chosen = _estimates(state)
    peak = chosen.predicted_peak
    moment = next(MOMENTS[name] for name, size in chosen.moments.items() if size == peak)
    rows = largest_batch(state.model, plan_of(state, state.share), GPUS[T4])
    lines = [
        f"{label(LOADABLE, state.model)}, {label(SHARES, state.share)} of the parameters trained "
        f"({chosen.trainable:,} of {chosen.parameters:,}): {label(OPTIMIZERS, state.optimizer)}, "
        f"{label(PRECISIONS, state.weights)}, {state.batch} × {state.sequence} tokens, {state.attention} attention, "
        f"{label(LOSSES, state.loss)}, {'with' if state.checkpointing else 'without'} checkpointing.",
        f"Peak: {size_text(peak)}, {moment}. Full fine-tuning: {size_text(full.predicted_peak)}.",
        "Components at full size: "
        + ", ".join(f"{n} {size_text(size)}" for n, size in chosen.components.items())
        + ".",
        room_for(peak),
        f"Largest batch on a T4 at {state.sequence} tokens a row: {f'{rows:,} rows' if rows else 'not one row'}.",
    ]
    return "\n".join(lines)


def _estimates(state: MemoryState) -> tuple[Estimate, Estimate]:
    """Those of full fine-tuning and of the state itself, all else equal."""
    return estimate(state.model, plan_of(state, 1.0)), estimate(state.model, plan_of(state, state.share))
