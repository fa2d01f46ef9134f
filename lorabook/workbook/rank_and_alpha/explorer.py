"""The LoRA explorer: what rank, alpha and target modules train, and what that takes in memory and on disk."""

import json
import shlex
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig
from lorabook.memory.estimate import Estimate, estimate
from lorabook.memory.families import shape_of
from lorabook.memory.gpus import GPUS
from lorabook.memory.shape import Module
from lorabook.sizes import size_text
from lorabook.workbook.kit.alive import at_peak
from lorabook.workbook.kit.break_even import break_even_rank
from lorabook.workbook.kit.controls import Control, buttons, label_of, slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.gpu_room import room_for, title_of
from lorabook.workbook.kit.model_sizes import model_sizes
from lorabook.workbook.kit.models import LOADABLE, MODELS, USUAL_TARGETS
from lorabook.workbook.kit.step_controls import OPTIMIZERS, PRECISIONS, plan_of, step_controls

# What the controls offer: what is shown, and what it stands for.
METHODS = {"full fine-tuning": "full", "LoRA": "lora", "QLoRA": "lora4"}
RANKS = {str(r): r for r in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)}
ALPHAS = {str(2**i): 2**i for i in range(11)}
TASKS = 100


@dataclass(frozen=True)
class LoRAState:
    """A setting of the explorer: `method` as in METHODS, `targets` are keys of `modules`, the rest as in `Plan`."""

    model: str = "bigcode/starcoderbase-1b"
    r: int = 16
    alpha: int = 8
    targets: tuple[str, ...] = ("c_attn", "attn.c_proj", "c_fc", "mlp.c_proj")
    method: str = "lora"
    weights: str = "fp16"
    optimizer: str = "adamw"
    batch: int = 4
    sequence: int = 512
    checkpointing: bool = False


# Of the paper's GPT-3, model, rank and targets are the paper's; alpha = r is chosen here.
PRESETS = {
    "a high rank": LoRAState(r=256, alpha=32),
    "the article's": LoRAState(targets=("wte", "wpe", "c_attn", "attn.c_proj", "c_fc", "mlp.c_proj")),
    "the paper's GPT-3": LoRAState("GPT-3 175B", 4, 4, ("q_proj", "v_proj")),
    "PEFT's default": LoRAState(r=8, alpha=8, targets=("c_attn",)),
    "7B on a T4": LoRAState("meta-llama/Llama-2-7b-hf", 16, 32, ("q_proj", "v_proj"), "lora4", checkpointing=True),
    "past break-even": LoRAState("pocket", 256, 256, ("c_attn", "attn.c_proj", "c_fc", "mlp.c_proj")),
}


class LoRAExplorer(Explorer):
    """r, alpha, targets, method, step → parameters, scaling, files; what is alive at the peak, over memory of GPUs."""

    def __init__(self) -> None:
        controls = step_controls(MODELS) | {
            "r": slider("rank r", RANKS),
            "alpha": slider("α", ALPHAS),
            "targets": Control(
                "boxes",
                "target modules",
                {model: box_options(model) for model in MODELS.values()},
                by="model",
                usual={model: USUAL_TARGETS[shape_of(model).family.name] for model in MODELS.values()},
            ),
            "method": buttons("method", METHODS),
        }
        in_order = {name: controls[name] for name in vars(LoRAState())}
        data = {
            "models": {model: model_sizes(model) for model in MODELS.values()},
            "targets": {model: list(modules(model)) for model in MODELS.values()},
            "usual": {model: USUAL_TARGETS[shape_of(model).family.name] for model in MODELS.values()},
            "loadable": list(LOADABLE.values()),
            "names": list(MODELS.items()),
            "methods": list(METHODS.items()),
            "optimizers": list(OPTIMIZERS.items()),
            "precisions": list(PRECISIONS.items()),
            "gpus": GPUS,
            "tasks": TASKS,
        }
        super().__init__("rank_and_alpha/explorer.js", in_order, PRESETS["a high rank"], shown, PRESETS, data)


@cache
def modules(model: str) -> dict[str, list[Module]]:
    """The modules of `model` by the shortest target that tells them from others of a block: c_attn, but attn.c_proj."""
    shape = shape_of(model)
    names = list(dict.fromkeys(shape.place(module)[1] for module in shape.modules))
    lasts = [_last(name) for name in names]
    targets = [name if lasts.count(_last(name)) > 1 else _last(name) for name in names]
    return {target: shape.matched((target,)) for target in targets}


def box_options(model: str) -> dict[str, str]:
    """What the boxes show and stand for: every target of `model`, with the number of modules that it hits."""
    return {f"{target} ×{len(hits)}": target for target, hits in modules(model).items()}


def estimated(state: LoRAState, method: str) -> Estimate:
    """The estimate of `state` with that method.

    Raises:
        SettingError: LoRA, and no target is ticked; whatever `estimate` refuses.
    """
    if method == "full":
        return estimate(state.model, plan_of(state, 1.0))
    if not state.targets:
        usual = USUAL_TARGETS[shape_of(state.model).family.name][0]
        raise SettingError("No target module is ticked.", f"LoRA needs at least one: tick {usual}, for example.")
    plan = plan_of(state, LoRAConfig(state.r, state.alpha, targets=state.targets))
    return estimate(state.model, replace(plan, weights="nf4") if method == "lora4" else plan)


def called(state: LoRAState) -> str:
    """The method, and the rank that it has."""
    how = label_of(METHODS, state.method)
    return how if state.method == "full" else f"{how} at r = {state.r}"


def shown(state: LoRAState) -> dict[str, Any]:
    """What is alive at the peak of full fine-tuning, and beside it of `state`, in bytes by component; lines to copy."""
    full, chosen, how = estimated(state, "full"), estimated(state, state.method), called(state)
    bars = {"full fine-tuning": at_peak(full)} | ({how: at_peak(chosen)} if state.method != "full" else {})
    return {
        "title": title_of(label_of(MODELS, state.model), how, chosen, full),
        "readout": readout(state),
        "details": details(state),
        "copy": to_copy(state),
        "bars": bars,
        "gpus": GPUS,
    }


def readout(state: LoRAState) -> str:
    """The same in four lines: what is trained, the peak, the GPUs with room, what doubling adds."""
    full, chosen = estimated(state, "full"), estimated(state, state.method)
    beside = f" Full fine-tuning: {size_text(full.predicted_peak)}." if state.method != "full" else ""
    lines = [
        _trained(state, chosen),
        f"Peak: {size_text(chosen.predicted_peak)} with {_setting(state)}.{beside}",
        room_for(chosen.predicted_peak),
        _doubled(state, chosen),
    ]
    return "\n".join(lines)


def details(state: LoRAState) -> str:
    """What folds out below: where the parameters are, what to say of the rank, files."""
    full, chosen = estimated(state, "full"), estimated(state, state.method)
    return "\n".join([*(_targets(state) if state.method != "full" else []), _files(state, full, chosen)])


def _trained(state: LoRAState, chosen: Estimate) -> str:
    """How many parameters are trained, and the scaling."""
    model, r, alpha = label_of(MODELS, state.model), state.r, state.alpha
    if state.method == "full":
        return f"{model}, full fine-tuning: all {chosen.parameters:,} parameters trained. r, α, targets do nothing."
    share = 100 * chosen.trainable / chosen.parameters
    return (
        f"{model}, {called(state)}: {chosen.trainable:,} of {chosen.parameters:,} parameters trained, {share:.4f}%. "
        f"Scaling α/r = {alpha}/{r} = {alpha / r:.4g}."
    )


def _targets(state: LoRAState) -> list[str]:
    """Where the parameters are, and what is to be said of the rank."""
    every = modules(state.model)
    parts = [f"{t} {len(every[t])} × {state.r * (every[t][0].d + every[t][0].k):,}" for t in state.targets]
    twins = [target for target in every if "." in target]
    both = f" The target {_last(twins[0])} means both {' and '.join(twins)}." if {*twins} & {*state.targets} else ""
    return [
        f"Modules × parameters in each: {', '.join(parts)}.{both}",
        _of_the_rank(state.r, {target: every[target][0] for target in state.targets}),
    ]


def _of_the_rank(r: int, matrices: dict[str, Module]) -> str:
    """Which matrices the rank r is too large for, the smallest break-even rank first."""
    ranks = sorted((break_even_rank(m.d, m.k), target) for target, m in matrices.items())
    past = [f"{target} ({rank:,})" for rank, target in ranks if rank < r]
    if not past:
        return f"Break-even rank d·k/(d + k): {ranks[0][0]:,} for {ranks[0][1]}, the first to reach it."
    text = f"Past the break-even rank d·k/(d + k): {', '.join(past)}. There A and B are larger than the matrix."
    most = {target: min(matrices[target].d, matrices[target].k) for _, target in ranks}
    capped = [f"{target} ({rank:,})" for target, rank in most.items() if rank < r]
    return text + (f" No update can have a rank above min(d, k): {', '.join(capped)}." if capped else "")


def _setting(state: LoRAState) -> str:
    base = "a base in NF4 and fp16 arithmetic" if state.method == "lora4" else label_of(PRECISIONS, state.weights)
    return (
        f"{label_of(OPTIMIZERS, state.optimizer)}, {base}, {state.batch} × {state.sequence} tokens, "
        f"{'with' if state.checkpointing else 'without'} checkpointing"
    )


def _doubled(state: LoRAState, chosen: Estimate) -> str:
    """By how much the peak grows when one thing is doubled."""
    grown = []
    for name, field in {"α": "alpha", "r": "r", "the batch": "batch"}.items():
        other = estimated(replace(state, **{field: 2 * getattr(state, field)}), state.method)
        more = other.predicted_peak - chosen.predicted_peak
        grown.append(f"{name} {f'+{size_text(more)}' if more else 'nothing'}")
    return f"What doubling adds to the peak: {', '.join(grown)}."


def _files(state: LoRAState, full: Estimate, chosen: Estimate) -> str:
    """Bytes on disk: of an adapter, and of many tasks with the base in 16 bits."""
    base = 2 * full.parameters
    copies = f"{TASKS} tasks on disk: {size_text(TASKS * base)} as copies of the model in 16 bits"
    if state.method == "full":
        return f"{copies}."
    fp32, fp16 = (size * chosen.trainable for size in (4, 2))
    return (
        f"Adapter file: {size_text(fp32)} in fp32, as lorabook writes it, {size_text(fp16)} in fp16; tensor "
        f"names add some KiB. {copies}, {size_text(base + TASKS * fp32)} as one base with {TASKS} adapters "
        f"({size_text(base + TASKS * fp16)} with adapters in fp16)."
    )


def to_copy(state: LoRAState) -> dict[str, str]:
    """PEFT's configuration, and what lorabook's command line calls this setting."""
    options, found = "--full", {}
    if state.method != "full":
        targets = short_targets(state)
        options = f"--r {state.r} --alpha {state.alpha} --targets {','.join(targets)}"
        found["PEFT"] = (
            f"LoraConfig(r={state.r}, lora_alpha={state.alpha}, target_modules={json.dumps(targets)}, "
            'task_type="CAUSAL_LM")'
        )
    model = shlex.quote(state.model)
    if state.method == "lora" and state.model in LOADABLE.values():
        tokens = f"--max-length {state.sequence} --micro-tokens {state.batch * state.sequence}"
        found["To train"] = f"lorabook finetune --model {model} {options} {tokens}"
    weights = "nf4" if state.method == "lora4" else state.weights
    step = f"--batch {state.batch} --sequence {state.sequence} --weights {weights} --optimizer {state.optimizer}"
    checkpointing = " --checkpointing" if state.checkpointing else ""
    return found | {"To predict this peak": f"lorabook memory {model} {options} {step}{checkpointing}"}


def short_targets(state: LoRAState) -> list[str]:
    """The targets of `state` by their last names where those hit no other module: c_proj for both of its modules."""

    def short(target: str) -> str:
        same = {name for name in modules(state.model) if _last(name) == _last(target)}
        return _last(target) if same <= set(state.targets) else target

    return list(dict.fromkeys(map(short, state.targets)))


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]
