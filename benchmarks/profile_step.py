"""Where the time of a LoRA training step goes, part by part, by PyTorch's profiler.

    python -m benchmarks.profile_step

Two blocks of StarCoderBase-1B's width with random weights, LoRA of rank 16 on every linear layer, and `finetune`'s own
step: forward, loss, backward, clipping, AdamW, in the precision of the device, on the CPU and on CUDA if there is one.
(The vocabulary is twelve times smaller too, so that the loss has the share that it has beside 24 blocks.)

Each module's forward pass is marked, and an operator belongs to the innermost mark around it. A backward operator
belongs where the forward one stood that autograd gave the same number. Inside a LoRA layer a matrix product with a
side of r numbers is LoRA's and every other one the base's, however the layer arranges them. An operator counts without
those it calls; on CUDA its kernels count. What Python does between operators is "other". The profiler slows small
operators down: the step's time without it stands beside. Prints one table for each setting, writes one JSON file.
"""

import argparse
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from lorabook import LoRAConfig, apply_lora
from lorabook.data.batches import Batch
from lorabook.kernels import faster
from lorabook.lora import LoRALayer
from lorabook.models.precision import precision_for
from lorabook.step.config import TrainConfig
from lorabook.step.gradients import gradient_step, set_activation_checkpointing
from lorabook.step.loss import AnswerLoss
from lorabook.step.optimizer import make_optimizer, trained
from lorabook.training.accelerator import accelerator_for
from scripts.assets import records
from scripts.assets.step_times import batch_of, wide

RESULT = Path(__file__).parent / "results" / "profile_step.json"
R = 16
PARTS = ("base linear layers", "LoRA", "dropout", "attention", "norms, GELU, sums", "loss", "optimizer", "other")
BASE, LORA, DROPOUT, ATTENTION, REST, LOSS, OPTIMIZER, OTHER = PARTS
PASSES = ("forward", "recomputed", "backward", "after")
MARK, ENGINE = "part: ", "autograd::engine::evaluate_function: "
PRODUCTS = {"aten::mm", "aten::addmm", "aten::addmm_", "aten::bmm", "aten::baddbmm"}
SETTINGS = ((0.0, False), (0.1, False), (0.0, True))  # lora_dropout, and whether activations are recomputed


def mark(module: nn.Module, part: str) -> None:
    """Put `module`'s forward passes inside a range of that name."""
    open_ranges: list[record_function] = []

    def enter(*_: Any) -> None:
        open_ranges.append(record_function(MARK + part))
        open_ranges[-1].__enter__()

    def leave(*_: Any) -> None:
        open_ranges.pop().__exit__(None, None, None)

    module.register_forward_pre_hook(enter)
    module.register_forward_hook(leave, always_call=True)  # recomputation breaks off once it has what it needs


def mark_parts(loss: AnswerLoss) -> None:
    mark(loss, LOSS)
    mark(loss.model.base_model, REST)
    for module in loss.model.modules():
        if isinstance(module, LoRALayer):
            mark(module, LORA)
            mark(module.base_layer, BASE)
            if hasattr(module, "dropout"):
                mark(module.dropout, DROPOUT)
        elif isinstance(module, nn.Dropout):
            mark(module, DROPOUT)
        elif type(module).__name__.endswith("Attention"):
            mark(module, ATTENTION)


def training_step(model: nn.Module, batch: Batch, checkpointing: bool) -> Callable[[], None]:
    """A whole training step, as `finetune` makes it, with its parts marked."""
    device = next(model.parameters()).device
    set_activation_checkpointing(model.train(), checkpointing, device)
    parameters, accelerator = [p for _, p in trained(model)], accelerator_for(device)
    plain = AnswerLoss(model)
    mark_parts(plain)
    loss, optimizer = accelerator.prepare(plain, make_optimizer(model, trained(model), TrainConfig(lr=1e-4)))

    def step() -> None:
        with faster(model):
            gradient_step(loss, batch, 1 / len(batch.labels), accelerator.backward)
        with record_function(MARK + OPTIMIZER):
            accelerator.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def places(events: Iterable[Any], r: int) -> Iterator[tuple[Any, str, str]]:
    """Every event with its part and pass. Ranges and Python's time in them are "other"."""
    events = [e for e in events if e.device_type == torch.autograd.DeviceType.CPU]
    forward: dict[tuple[int, int], Any] = {}
    for e in events:  # of several that saw a number, the last to start made the node that has it
        key = (e.thread, e.sequence_nr)
        if e.sequence_nr >= 0 and not _backward_node(e):
            forward[key] = max(forward.get(key, e), e, key=lambda event: event.time_range.start)
    for e in events:
        part, how = _place(e, forward)
        if part == LORA and e.name in PRODUCTS and not any(r in shape for shape in e.input_shapes if shape):
            part = BASE
        if e.name.startswith(MARK):
            part, how = OTHER, "after"
        yield e, part, how


def _backward_node(e: Any) -> bool:
    while e is not None:
        if e.name.startswith(ENGINE):
            return True
        e = e.cpu_parent
    return False


def _place(e: Any, forward: dict[tuple[int, int], Any]) -> tuple[str, str]:
    while e is not None:
        if e.name.startswith(MARK):
            part = e.name.removeprefix(MARK)
            return part, "after" if part == OPTIMIZER else "recomputed" if _backward_node(e) else "forward"
        if e.name.startswith(ENGINE):
            if "AccumulateGrad" in e.name:
                return LORA, "backward"  # nothing else is trained
            source = forward.get((e.fwd_thread, e.sequence_nr))
            return (_place(source, {})[0] if source else OTHER), "backward"
        e = e.cpu_parent
    return OTHER, "after"


def shares(step: Callable[[], None], device: str, steps: int, r: int) -> dict[str, dict[str, float]]:
    """Milliseconds a step of every part, in every pass."""
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device == "cuda")
    with profile(activities=activities, record_shapes=True) as profiled:
        for _ in range(steps):
            step()
    found: dict[str, dict[str, float]] = {part: defaultdict(float) for part in PARTS}
    for event, part, how in places(profiled.events(), r):
        microseconds = event.self_device_time_total if device == "cuda" else event.self_cpu_time_total
        found[part][how] += microseconds / 1e3 / steps
    return {part: {how: round(times[how], 3) for how in PASSES if times[how]} for part, times in found.items()}


def table(parts: dict[str, dict[str, float]]) -> str:
    whole = sum(sum(times.values()) for times in parts.values())
    columns = [how for how in PASSES[:3] if any(how in times for times in parts.values())]
    lines = [f"{'ms a step':20}" + "".join(f"{how:>12}" for how in (*columns, "all")) + f"{'share':>8}"]
    for part, times in parts.items():
        total = sum(times.values())
        cells = (f"{times[how]:>12.1f}" if how in times else " " * 12 for how in columns)
        lines.append(f"{part:20}{''.join(cells)}{total:>12.1f}{total / whole:>8.1%}")
    return "\n".join(lines)


def measure(device: str, rows: int, sequence: int, steps: int, make: Callable[[], nn.Module] = wide) -> list[dict]:
    """Every setting on one device, printed as they come."""
    found, batch = [], batch_of(rows, sequence).to(device)
    for dropout, checkpointing in SETTINGS:
        model = make().to(device, precision_for(device).weights)
        apply_lora(model, LoRAConfig(r=R, alpha=2 * R, dropout=dropout))
        step = training_step(model, batch, checkpointing)
        times = []
        for _ in range(steps + 1):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        parts = shares(step, device, steps, R)
        found.append({"device": device, "rows": rows, "sequence": sequence, "dropout": dropout})
        found[-1] |= {"checkpointing": checkpointing, "milliseconds": parts}
        found[-1]["unprofiled"] = round(1e3 * statistics.median(times[1:]), 3)
        again = "recomputed" if checkpointing else "kept"
        print(f"\n{device}, {rows} × {sequence} tokens, lora_dropout {dropout:g}, activations {again}")
        print(f"{table(parts)}\n{'without profiler':20}{found[-1]['unprofiled']:>.1f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1)
    parser.add_argument("--sequence", type=int, default=256)
    parser.add_argument("--steps", type=int, default=5, help="profiled, and timed without the profiler")
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; load of the machine before: {load:.1f}")
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    runs = [run for device in devices for run in measure(device, args.rows, args.sequence, args.steps)]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    machine = {"threads": torch.get_num_threads(), "load": round(load, 1), "cuda": gpu}
    records.write(args.output, "benchmarks/profile_step.py", machine | {"r": R, "steps": args.steps, "runs": runs})


if __name__ == "__main__":
    main()
