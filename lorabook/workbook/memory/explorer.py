"""The Memory explorer: which part of a training step takes how much memory, and which card has room for it."""

from dataclasses import dataclass
from typing import Any

import ipywidgets as widgets
from matplotlib.figure import Figure

from lorabook.lora import LoRAConfig
from lorabook.memory.estimate import Estimate, estimate
from lorabook.memory.gpus import CARDS, fits, largest_batch
from lorabook.memory.plan import Plan
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.memory_bars import memory_bars, size_text

# What the controls offer: what is shown, and what a Plan calls it.
MODELS = {
    "pocket": "pocket",
    "tiny_starcoder_py": "bigcode/tiny_starcoder_py",
    "StarCoderBase-1B": "bigcode/starcoderbase-1b",
    "Llama-2-7B": "meta-llama/Llama-2-7b-hf",
}
PRECISIONS = {"fp32": "fp32", "fp16 autocast": "fp16", "bf16 autocast": "bf16"}
OPTIMIZERS = {"AdamW": "adamw", "AdamW in 8 bits": "adamw8bit", "SGD": "sgd"}
ATTENTIONS = {"fused": "fused", "eager": "eager"}
LOSSES = {"logits in chunks": "chunked", "all logits at once": "plain"}
SHARES = {f"{share:g}%": share / 100 for share in (100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1)}
BATCHES = {str(2**i): 2**i for i in range(9)}
SEQUENCES = {str(2**i): 2**i for i in range(6, 14)}

MOMENTS = {
    "forward": "in the forward pass",
    "loss": "while the loss is computed",
    "start of backward": "as the backward pass starts",
    "end of backward": "as the backward pass ends",
    "optimizer step": "in the optimizer's step",
}
T4 = "T4"


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
    """Model, precision, optimizer, share trained, batch, sequence → stacked components under the memory of cards."""

    def __init__(self) -> None:
        controls = step_controls(MODELS) | {
            "share": slider("share trained", SHARES),
            "attention": buttons("attention", ATTENTIONS),
            "loss": buttons("loss", LOSSES),
        }
        in_order = {name: controls[name] for name in vars(MemoryState())}
        super().__init__(in_order, MemoryState(), figure, readout, PRESETS)


def step_controls(models: dict[str, str]) -> dict[str, Any]:
    """Fresh controls for the model and for what every training step has, whatever is trained."""
    return {
        "model": buttons("model", models),
        "weights": buttons("precision", PRECISIONS),
        "optimizer": buttons("optimizer", OPTIMIZERS),
        "batch": slider("batch (rows)", BATCHES),
        "sequence": slider("sequence (tokens)", SEQUENCES),
        "checkpointing": widgets.Checkbox(description="checkpointing"),
    }


def plan_of(state: Any, method: LoRAConfig | float) -> Plan:
    """The Plan for `method` that takes all else from `state`, where the two have fields of the same name."""
    shared = (vars(state).keys() & vars(Plan()).keys()) - {"method"}
    return Plan(method, **{name: getattr(state, name) for name in shared})


def figure(state: MemoryState, figure: Figure | None = None) -> Figure:
    """The components of full fine-tuning, and beside them those of `state`, as stacked bars under the cards."""
    full, chosen = _ledgers(state)
    bars, trained = {"full fine-tuning": full}, f"{label(SHARES, state.share)} trained"
    if state.share < 1:
        bars[trained] = chosen
    return memory_bars(bars, CARDS, title_of(label(MODELS, state.model), trained, chosen, full), figure)


def readout(state: MemoryState) -> str:
    """The same in sentences: the setting, the peak, each component, the cards with room, the largest batch."""
    full, chosen = _ledgers(state)
    peak = chosen.predicted_peak
    moment = next(MOMENTS[name] for name, size in chosen.moments.items() if size == peak)
    rows = largest_batch(state.model, plan_of(state, state.share), CARDS[T4])
    lines = [
        f"{label(MODELS, state.model)}, {label(SHARES, state.share)} of the parameters trained "
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


def room_for(peak: int) -> str:
    """Which cards have room for `peak` bytes, in sentences."""
    roomy = fits(peak)
    return (
        f"Room for the peak: {', '.join(roomy) or 'none'}. "
        f"Too small: {', '.join(card for card in CARDS if card not in roomy) or 'none'}. "
        "The CUDA context takes some hundred MiB more."
    )


def title_of(model: str, how: str, chosen: Estimate, full: Estimate) -> str:
    """What `model` needs when it is trained as `chosen`, called `how`, and whether a T4 has room for that."""
    need = size_text(chosen.predicted_peak)
    here, there = (T4 in fits(ledger.predicted_peak) for ledger in (chosen, full))
    if chosen == full:
        return f"Full fine-tuning of {model} needs {need}: a T4 has {'' if here else 'no '}room for it"
    verdict = {
        (True, True): "a T4 has room for either",
        (True, False): "a T4 has room for it, and none for full fine-tuning",
        (False, True): "a T4 has room for full fine-tuning alone",
        (False, False): "a T4 has room for neither",
    }
    return f"{model} with {how} needs {need}: {verdict[here, there]}"


def label(options: dict[str, Any], value: Any) -> str:
    """What a control shows for `value`."""
    return next(label for label, option in options.items() if option == value)


def buttons(description: str, options: dict[str, Any]) -> widgets.ToggleButtons:
    return widgets.ToggleButtons(description=description, options=list(options.items()))


def slider(description: str, options: dict[str, Any]) -> widgets.SelectionSlider:
    return widgets.SelectionSlider(description=description, options=list(options.items()))


def _ledgers(state: MemoryState) -> tuple[Estimate, Estimate]:
    """Those of full fine-tuning and of the state itself, all else equal."""
    return estimate(state.model, plan_of(state, 1.0)), estimate(state.model, plan_of(state, state.share))
