"""What an adapter costs when the model answers: LoRA beside its weights, LoRA merged, bottleneck adapters, no adapter.

    python -m benchmarks.latency
    python -m benchmarks.latency --output lorabook/assets/results/many_tasks/latency.json    as more_adapters.md quotes

Two models: pocket, and two blocks of StarCoderBase-1B's width with random weights. LoRA of rank 16 on every linear
layer; bottleneck adapters of the width that trains about as many parameters. Timed are one forward pass of 128 tokens
a row, and 32 tokens generated greedily after 16, which is 32 passes of one token a row. fp32, on the CPU and on CUDA
where there is one. Contenders take turns, so that a busy spell of the machine meets all, and who begins changes.

A ratio is between two times of the same turn; shown is the median with the quartiles. The merged model does exactly the
arithmetic of the base. So the distance of its ratio from 1 is noise, and the other ratios carry as much noise.

Prints its table, and beside it the paper's Table 1 with what must be known to read it. Writes one JSON file.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from lorabook import LoRAConfig, apply_lora
from lorabook.lora import lora_layers
from lorabook.memory.families import shape_of
from lorabook.merging import merge, remove
from lorabook.workbook.many_tasks.bottleneck import BottleneckConfig, apply_bottleneck, width_for
from scripts.assets import records
from scripts.assets.step_times import pocket, wide

RESULT = Path(__file__).parent / "results" / "latency.json"
MODELS = {"pocket": pocket, "2 blocks of the 1B's width": wide}
R, PROMPT = 16, 16
LEAST, MOST = 5, 51  # turns
Runs = dict[str, Callable[[], object]]
# Hu et al. 2021 (arXiv 2106.09685), Table 1, v1: batch, sequence, parameters of the adapters in millions, and
# milliseconds with their deviation for "Fine-Tune/LoRA", Adapter^L and Adapter^H.
TABLE_1 = (
    (32, 512, 0.5, (1449.4, 0.8), (1482.0, 1.0), (1492.2, 1.0)),
    (16, 256, 11, (338.0, 0.6), (354.8, 0.5), (366.3, 0.5)),
    (1, 128, 11, (19.8, 2.7), (23.9, 2.1), (25.8, 2.2)),
)
CAVEATS = """To read it:
- Its LoRA is merged, so it is the fine-tuned model and has one column with it. Unmerged, LoRA adds two small matrix
  products to each adapted layer, and the table does not say what they cost.
- The adapters of the first row are twenty times smaller than those of the others.
- The 30% are of one row of 128 tokens, the least work here, and of times that vary by 2 to 3 ms."""


def contenders(make: Callable[[], nn.Module], device: str) -> tuple[dict[str, nn.Module], dict[str, int]]:
    """The models that take turns, by name, and what is trained in them: parameters, and the bottleneck's width m."""
    models = {name: make() for name in ("base", "LoRA", "merged", "bottleneck")}
    reports = [_with_lora(models[name]) for name in ("LoRA", "merged")]
    merge(models["merged"], keep_copy=False)
    remove(models["merged"])
    shape = shape_of(models["base"].config)
    m = width_for(reports[0].trainable, shape.width, shape.layers, shape.norm_parameters)
    bottleneck = apply_bottleneck(models["bottleneck"], BottleneckConfig(m=m))
    for model in models.values():
        model.to(device).eval().requires_grad_(False)
    return models, {"LoRA": reports[0].trainable, "bottleneck": bottleneck.trainable, "m": m}


def _with_lora(model: nn.Module):
    """`apply_lora`, and numbers in B, which would start at zero."""
    report = apply_lora(model, LoRAConfig(r=R, alpha=2 * R))
    generator = torch.Generator().manual_seed(1)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.B, std=0.02, generator=generator)
    return report


def check(models: dict[str, nn.Module], ids: Tensor) -> None:
    """That the merged model computes what LoRA beside the weights does, and something else than the base."""
    base, lora, merged = (models[name](ids).logits for name in ("base", "LoRA", "merged"))
    error, update = (merged - lora).norm(), (lora - base).norm()
    assert error < 1e-3 * update, f"merged and unmerged differ by {error / update:.1e} of the update"


def take_turns(runs: Runs, seconds: float, wait: Callable[[], None]) -> dict[str, list[float]]:
    """Seconds of every turn, after one that does not count. The first of a turn comes last in the next."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    began, order = time.perf_counter(), list(runs)
    for turn in range(MOST + 1):
        for name in order:
            wait()
            start = time.perf_counter()
            runs[name]()
            wait()
            times[name].append(time.perf_counter() - start)
        order.append(order.pop(0))
        if turn >= LEAST and time.perf_counter() - began > seconds:
            break
    return {name: each[1:] for name, each in times.items()}


def summary(times: dict[str, list[float]]) -> dict:
    """Median milliseconds, and the quartiles of every contender's times over the base's of the same turn."""
    ratios = {n: [t / base for t, base in zip(each, times["base"])] for n, each in times.items() if n != "base"}
    return {
        "turns": len(times["base"]),
        "milliseconds": {name: round(1e3 * statistics.median(each), 3) for name, each in times.items()},
        "ratios": {n: [round(q, 3) for q in statistics.quantiles(each, n=4)] for n, each in ratios.items()},
    }


def line(row: dict) -> str:
    what = f"{row['what']:9}{row['batch']:>3} × {row['sequence']:<4}{row['milliseconds']['base']:>9.1f} ms"
    cells = (f"{f'{middle:.2f} ({low:.2f}–{high:.2f})':>20}" for low, middle, high in row["ratios"].values())
    return f"{what} {' '.join(cells)} {row['turns']:>6}"


def cases(models: dict[str, nn.Module], ids: Tensor, tokens: int) -> dict[tuple[str, int], Runs]:
    """What is timed on one batch, by its name and the tokens a row that it is about."""
    prompt, forward, generate = ids[:, :PROMPT], {}, {}
    greedy = {"do_sample": False, "max_new_tokens": tokens, "min_new_tokens": tokens, "pad_token_id": 0}
    for name, model in models.items():
        forward[name] = partial(model, ids)
        generate[name] = partial(model.generate, prompt, attention_mask=torch.ones_like(prompt), **greedy)
    return {("forward", ids.shape[1]): forward, ("generate", tokens): generate}


@torch.inference_mode()
def measure(name: str, device: str, args: argparse.Namespace) -> dict:
    """Every case of one model on one device, printed as they come."""
    models, counts = contenders(MODELS[name], device)
    print(
        f"\n{name}, {device}: LoRA trains {counts['LoRA']:,} parameters; bottleneck adapters of width {counts['m']} "
        f"train {counts['bottleneck']:,}, norms included"
    )
    print(f"{'':17}{'base':>12} {'LoRA, unmerged':>20} {'LoRA, merged':>20} {'bottleneck':>20} {'turns':>6}")
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None
    rows = []
    for batch in args.batches:
        ids = torch.randint(4096, (batch, args.sequence), generator=torch.Generator().manual_seed(0)).to(device)
        check(models, ids[:, :PROMPT])
        for (what, sequence), runs in cases(models, ids, args.tokens).items():
            row = {"what": what, "batch": batch, "sequence": sequence} | summary(take_turns(runs, args.seconds, wait))
            rows.append(row)
            print(line(row), flush=True)
    return {"model": name, "device": device, "parameters": counts, "rows": rows}


def paper() -> str:
    """The paper's Table 1."""
    lines = [
        "The LoRA paper's Table 1: one forward pass of GPT-2 medium on an RTX 8000, ms, mean of 100",
        f"{'':10}{'adapters':>10}  {'fine-tuned, or LoRA':^19} {'Adapter^L':^23} {'Adapter^H, two a block':^23}",
    ]
    for batch, sequence, millions, base, *adapters in TABLE_1:
        cells = (f"{f'{ms} ± {spread} (+{100 * (ms / base[0] - 1):.1f}%)':^23}" for ms, spread in adapters)
        lines.append(f"{batch:>3} × {sequence:<4}{millions:>9}M  {f'{base[0]} ± {base[1]}':^19} {' '.join(cells)}")
    return "\n".join([*lines, CAVEATS])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 16])
    parser.add_argument("--sequence", type=int, default=128, help="tokens a row in the forward pass")
    parser.add_argument("--tokens", type=int, default=32, help="tokens to generate")
    parser.add_argument("--seconds", type=float, default=8.0, help=f"at most so long for a case, but {LEAST} turns")
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; load of the machine before: {load:.1f}")
    print("median milliseconds of the base, and times the base: median (quartiles)")
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    runs = [measure(name, device, args) for device in devices for name in args.models]
    print(f"\n{paper()}")
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    machine = {"threads": torch.get_num_threads(), "load": round(load, 1), "cuda": gpu}
    records.write(args.output, "benchmarks/latency.py", machine | {"r": R, "prompt": PROMPT, "runs": runs})


if __name__ == "__main__":
    main()
