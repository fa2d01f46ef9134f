"""The Serving explorer: many tasks on one base, as copies or as adapters, in bytes."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from lorabook.lora_config import ALL_LINEAR
from lorabook.memory.families import shape_of
from lorabook.memory.gpus import GPUS
from lorabook.sizes import size_text
from lorabook.workbook.kit.controls import buttons, label_of, slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.gpu_room import T4
from lorabook.workbook.kit.models import MODELS, USUAL_TARGETS
from lorabook.workbook.many_tasks.bottleneck import trained_parameters, width_for

# What the controls offer: what is shown, and what it stands for. A format is its bytes a number.
TASKS = {f"{tasks:,}": tasks for tasks in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000)}
RANKS = {str(2**i): 2**i for i in range(9)}
TARGETS = {"attention": "attention", "all linear": "linear", "linear, embeddings": "all"}
FORMATS = {"fp32": 4, "fp16": 2}


@dataclass(frozen=True)
class ServingState:
    """A setting of the explorer: `targets` is a value of TARGETS, `adapters` and `base` are bytes per parameter."""

    model: str = "bigcode/starcoderbase-1b"
    tasks: int = 100
    r: int = 16
    targets: str = "linear"
    adapters: int = 4
    base: int = 2


PAPER = ServingState("GPT-3 175B", 100, 4, "attention", 2, 2)
PRESETS = {
    "all linear layers": ServingState(),
    "the article's": ServingState(targets="all"),
    "adapters in fp16": ServingState(adapters=2),
    "the paper's GPT-3": PAPER,
    "one task": ServingState(tasks=1),
    "rank too large": ServingState("pocket", r=256),
}


class ServingExplorer(Explorer):
    """Model, tasks, r, targets, formats → bytes of copies, of one base with LoRA, of one with bottleneck adapters."""

    def __init__(self) -> None:
        controls = {
            "model": buttons("model", MODELS),
            "tasks": slider("tasks", TASKS),
            "r": slider("rank r", RANKS),
            "targets": buttons("target modules", TARGETS),
            "adapters": buttons("adapters in", FORMATS),
            "base": buttons("base in", FORMATS),
        }
        data = {
            "models": {model: _counts(model) for model in MODELS.values()},
            "names": list(MODELS.items()),
            "formats": list(FORMATS.items()),
            "tasks": list(TASKS.values()),
            "t4": GPUS[T4],
            "paper": PAPER.model,
        }
        super().__init__("many_tasks/explorer.js", controls, ServingState(), shown, PRESETS, data)


def _counts(model: str) -> dict[str, Any]:
    """What explorer.js needs to know of a model: sizes, and for each choice of targets what LoRA adapts there."""
    shape, hits = shape_of(model), {}
    for choice in TARGETS.values():
        targets = targets_of(ServingState(model, targets=choice))
        matched = shape.matched(targets)
        hits[choice] = {
            "names": ", ".join(targets),
            "rank1": sum(m.d + m.k for m in matched),
            "weights": sum(m.d * m.k for m in matched),
            "unties": shape.tied and shape.tables[0] in matched,
        }
    fields = {name: getattr(shape, name) for name in ("parameters", "width", "layers")}
    head, norms = shape.head.parameters, shape.norm_parameters
    return fields | {"head": head, "norms": norms, "buffers": shape.buffer_bytes, "targets": hits}


@dataclass(frozen=True)
class Sizes:
    """Bytes of one model and of what one task adds to it.

    Attributes:
        copy: the base, and so a fully fine-tuned model of one task.
        merged: a model with LoRA merged; larger where merging unties the head.
        rewritten: the weights that merging into the base writes anew.
        lora, bottleneck: an adapter. m: the bottleneck's width, chosen so that both train about as many parameters.
        buffers: what the model holds in memory and in no file.
    """

    copy: int
    merged: int
    rewritten: int
    lora: int
    bottleneck: int
    m: int
    buffers: int


def targets_of(state: ServingState) -> tuple[str, ...]:
    """The LoRA targets that `state.targets` stands for in its model."""
    shape = shape_of(state.model)
    if state.targets == "attention":
        return USUAL_TARGETS[shape.family.name]
    tables = tuple(m.name.rsplit(".", 1)[-1] for m in shape.modules if m.embedding)
    return (ALL_LINEAR,) if state.targets == "linear" else (ALL_LINEAR, *tables)


@cache
def sizes(state: ServingState) -> Sizes:
    """From shapes alone: r (d + k) numbers of LoRA for each matrix, and bottleneck adapters of about as many."""
    shape = shape_of(state.model)
    hits = shape.matched(targets_of(state))
    lora = state.r * sum(m.d + m.k for m in hits)
    dimensions = shape.width, shape.layers, shape.norm_parameters
    m = width_for(lora, *dimensions)
    untied = shape.head.parameters if shape.tied and shape.tables[0] in hits else 0
    return Sizes(
        copy=state.base * shape.parameters,
        merged=state.base * (shape.parameters + untied),
        rewritten=state.base * sum(m.d * m.k for m in hits),
        lora=state.adapters * lora,
        bottleneck=state.adapters * trained_parameters(m, *dimensions),
        m=m,
        buffers=shape.buffer_bytes,
    )


def shown(state: ServingState) -> dict[str, Any]:
    """Bytes on disk over the number of tasks, by way of keeping them."""
    size, tasks = sizes(state), list(TASKS.values())
    return {
        "title": _title(state, size),
        "readout": readout(state),
        "details": details(state),
        "curves": {
            "a copy per task": [n * size.copy for n in tasks],
            "one base, LoRA": [size.copy + n * size.lora for n in tasks],
            "the base alone": [size.copy for _ in tasks],
        },
        "tasks": tasks,
        "chosen": state.tasks,
    }


def _title(state: ServingState, size: Sizes) -> str:
    copies, lora = state.tasks * size.copy, size.copy + state.tasks * size.lora
    setting = f"{_tasks(state.tasks)} on {label_of(MODELS, state.model)}"
    return f"{setting}: {size_text(lora)} with LoRA, {size_text(copies)} as {'copies' if state.tasks > 1 else 'a copy'}"


def readout(state: ServingState) -> str:
    """The same in four lines: sizes, disk, what LoRA saves at most, memory."""
    size, shape, tasks = sizes(state), shape_of(state.model), state.tasks
    copies, one_base = tasks * size.copy, size.copy + tasks * size.lora
    saved, most = copies / one_base, size.copy / size.lora
    lines = [
        f"{label_of(MODELS, state.model)}: {shape.parameters:,} parameters, {size_text(size.copy)} in "
        f"{label_of(FORMATS, state.base)}. LoRA with r = {state.r} on {', '.join(targets_of(state))}: "
        f"{size.lora // state.adapters:,} parameters, {size_text(size.lora)} in {label_of(FORMATS, state.adapters)}.",
        f"{_tasks(tasks)} on disk: {size_text(copies)} as copies of the model, {size_text(one_base)} as one base with "
        f"LoRA adapters, {f'{_digits(saved)} times less' if saved > 1 else 'which saves nothing'}.",
        f"A copy weighs as much as {_digits(most)} LoRA adapters. "
        + (
            f"With that many tasks, they weigh as much. The saving stays under {_digits(most)} times."
            if most > 1
            else "So an adapter of this rank saves nothing, however many tasks there are."
        ),
        f"All in memory, ready to answer: {size_text(copies + tasks * size.buffers)} as copies, "
        f"{size_text(one_base + size.buffers)} as one base with LoRA. {_on_a_t4(size)}",
    ]
    return "\n".join(lines)


def details(state: ServingState) -> str:
    """What folds out below: bottleneck adapters, what a switch moves, what merging costs."""
    size, tasks = sizes(state), state.tasks
    copies, one_base = tasks * size.copy, size.copy + tasks * size.lora
    lines = [
        f"Bottleneck adapters of the nearest size, m = {size.m:,}, have {size.bottleneck // state.adapters:,} "
        f"parameters with the norms: {size_text(size.copy + tasks * size.bottleneck)}.",
        f"To change the task: load another adapter, {size_text(size.lora)}, or another copy, {size_text(size.copy)}.",
        f"Merged, LoRA takes no extra time, but a model then answers one task: no batch mixes them. A merged copy for "
        f"each task takes {size_text(tasks * size.merged)}{_untied(size)}; merging into one base writes "
        f"{size_text(size.rewritten)} at each change of the task. Bottleneck adapters cannot be merged.",
    ]
    if state.model == PAPER.model:
        lines.append(
            f"In units of 10⁹ and 10⁶ bytes: {size.copy / 1e9:,.1f} GB + {tasks:,} × {size.lora / 1e6:,.1f} MB = "
            f"{one_base / 1e9:,.1f} GB, against {copies / 1e9:,.0f} GB. The LoRA paper's footnote 4, for 100 tasks: "
            "350 GB + 100 × 35 MB ≈ 354 GB, against about 35 TB."
        )
    return "\n".join(lines)


def _on_a_t4(size: Sizes) -> str:
    """How many tasks a T4 holds either way."""
    room, held = GPUS[T4], size.copy + size.buffers
    if room < held:
        return "A T4 has no room for one copy."
    adapters = (room - held) // size.lora
    return (
        f"A T4 has room for {room // held:,} copies, or the base with {adapters:,} adapters; activations come on top."
    )


def _untied(size: Sizes) -> str:
    more = size.merged - size.copy
    return f", {size_text(more)} more for each because its head is no longer its embedding" if more else ""


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 999.5 else f"{value:,.0f}"


def _tasks(tasks: int) -> str:
    return f"{tasks:,} task{'' if tasks == 1 else 's'}"
