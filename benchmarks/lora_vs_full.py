"""What fraction of full fine-tuning's improvement LoRA brings, on the same matrices and tokens (quality, not speed).

    python -m benchmarks.lora_vs_full --data sample
    python -m benchmarks.lora_vs_full --data FILE --rows 1500

Trains the pocket model twice over: LoRA of rank 16 on every linear layer, and full fine-tuning of those same matrices
at several learning rates, of which the best counts. Prints a table and writes `benchmarks/results/lora_vs_full.json`.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from lorabook import LoRAConfig, apply_lora
from lorabook.data import stackoverflow
from lorabook.data.examples import Example, encode_all
from lorabook.data.split import split
from lorabook.lora import matched
from lorabook.models.load import KNOWN, load_model
from lorabook.step.config import TrainConfig, recommended_lr
from lorabook.training.loop import finetune
from scripts.assets import records

RESULT = Path(__file__).parent / "results" / "lora_vs_full.json"
FULL_RATES = (5e-4, 1e-3, 2e-3)


@dataclass(frozen=True)
class Outcome:
    """One run: `loss` is the held-out loss after it, in nats per answer token; `tokens` those it was trained on."""

    method: str
    lr: float
    trainable: int
    base: float
    loss: float
    tokens: int


def run(method: str, lr: float, train: list[Example], held: list[Example], steps: int | None) -> Outcome:
    model = load_model("pocket").model
    if method == "LoRA":
        trainable = apply_lora(model, LoRAConfig(r=16, alpha=32)).trainable
    else:
        model.requires_grad_(False)
        weights = [model.get_submodule(name).weight.requires_grad_() for name in matched(model, ("all-linear",))]
        trainable = sum(w.numel() for w in weights)
    history = finetune(model, train, held, TrainConfig(lr=lr, steps=steps, log_every=0))
    return Outcome(method, lr, trainable, history.held_out[0][1], history.held_out[-1][1], history.tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="sample")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--steps", type=int, help="optimizer steps; one epoch if left out")
    parser.add_argument("--rates", type=float, nargs="+", default=FULL_RATES, help="learning rates of full fine-tuning")
    args = parser.parse_args()
    pairs = stackoverflow.load(args.data, rows=args.rows).pairs
    tokenizer = load_model("pocket").tokenizer
    train, held = (encode_all(part, tokenizer, 512) for part in split(pairs))
    runs = [("LoRA", recommended_lr(KNOWN["pocket"].parameters)), *(("full", rate) for rate in args.rates)]
    outcomes = []
    for method, lr in runs:
        outcomes.append(run(method, lr, train, held, args.steps))
        o = outcomes[-1]
        print(f"{o.method:5} lr {o.lr:.0e}  {o.trainable:>9,} trained  {o.base:.3f} → {o.loss:.3f}", flush=True)
    lora, *full = outcomes
    best = min(full, key=lambda o: o.loss)
    share = (lora.base - lora.loss) / (best.base - best.loss)
    print(f"held-out questions: {len(held)}")
    print(f"fraction of full fine-tuning's improvement: {share:.1%}")
    record = {"rows": args.rows, "held_out": len(held), "share": share, "runs": [asdict(o) for o in outcomes]}
    records.write(RESULT, "benchmarks/lora_vs_full.py", record)


if __name__ == "__main__":
    main()
