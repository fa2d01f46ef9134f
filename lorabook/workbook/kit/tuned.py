"""The stored fine-tunes, each at its best learning rate, by a name that a reader can type."""

from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lorabook.workbook.kit.stored import stored


@dataclass(frozen=True)
class Tuned:
    """A way to fine-tune a model: its best learning rate, and what came of it.

    `parameters` were trained, with LoRA of rank `r` or, if that is None, in full. `rates` holds the validation loss by
    the learning rates that were tried, `losses` the test loss of each seed at the best of them, `lr`. `recoveries` are
    the same as fractions of full fine-tuning's mean improvement over the untrained model, `recovery` their mean.
    """

    r: int | None
    parameters: int
    lr: float
    rates: dict[float, float]
    losses: list[float]
    recoveries: list[float]

    @property
    def recovery(self) -> float:
        """The mean of `recoveries`."""
        return fmean(self.recoveries)


def base_loss(model: str = "pocket") -> float:
    """The test loss of the model as it is."""
    return stored("rank_and_alpha", "rules")["models"][model]["base"]["test"]


def question_counts(model: str = "pocket") -> list[int]:
    """On how many training questions there are runs."""
    return sorted([*_other_parts(model), stored("rank_and_alpha", "rules")["questions"]])


def tuned_runs(model: str = "pocket", questions: int = 240) -> dict[str, Tuned]:
    """By name: "full fine-tuning", "r = 16, α = 32", "r = 16, rsLoRA", "r = 16, α = 8", "MLP, r = 6" …

    `model` is "pocket", which also has "every parameter", "embeddings alone", "bottleneck adapters, 16" and "random
    subspace, 1000", or "smollm2", which has fewer. `questions` is 240, or 50 or 1500; with those, there are full
    fine-tuning and some ranks. SmolLM2 also has one of each on 5000.
    """
    rules = stored("rank_and_alpha", "rules")["models"][model]
    if questions not in question_counts(model):
        known = ", ".join(map(str, question_counts(model)))
        raise ValueError(f"There are no runs on {questions} questions; there are on {known}.")
    if part := _other_parts(model).get(questions):
        runs = {"full fine-tuning": part["full"]} | {f"r = {r}, α = 32": each for r, each in part["lora"].items()}
        return _all_tuned(runs, base_loss(model))
    ranks = rules["ranks"]
    found = {"full fine-tuning": ranks["full"]}
    for rule, written in (("alpha / r", "α = 32"), ("alpha / sqrt(r)", "rsLoRA")):
        found |= {f"r = {r}, {written}": each for r, each in ranks[rule].items()}
    found |= {f"r = 16, α = {alpha}": each for alpha, each in rules.get("alpha", {}).items()}
    targets = dict(rules["targets"])
    with_embedding = targets.pop("all linear + embeddings")
    found |= {f"{name}, r = {each['r']}": each for name, each in targets.items()}
    found["r = 16, α = 8, embeddings"] = rules["article"]["article"]
    for method, runs in rules.get("methods", {}).items():
        found |= {method: runs} if "runs" in runs else {f"{method}, {size}": each for size, each in runs.items()}
    for factor, runs in with_embedding.items():
        name = f"all linear, embedding at {_fraction(float(factor))}"
        found[name] = {"r": targets["all linear"]["r"], "runs": runs, "rates": {}}
    return _all_tuned(found, base_loss(model))


def _other_parts(model: str) -> dict[int, dict[str, Any]]:
    """By their number of questions, the parts of the rules that have another than most."""
    rules = stored("rank_and_alpha", "rules")["models"][model]
    return {part["questions"]: part for part in map(rules.get, ("few", "capacity", "most")) if part}


def _all_tuned(found: dict[str, dict[str, Any]], base: float) -> dict[str, Tuned]:
    improvement = base - fmean(run["test"] for run in found["full fine-tuning"]["runs"])
    tuned = {}
    for name, each in found.items():
        runs, rates = each["runs"], {float(lr): loss for lr, loss in each["rates"].items()}
        losses = [run["test"] for run in runs]
        recoveries = [(base - loss) / improvement for loss in losses]
        tuned[name] = Tuned(each["r"], runs[0]["trainable"], runs[0]["lr"], rates, losses, recoveries)
    return tuned


def _fraction(factor: float) -> str:
    return f"1/{1 / factor:.0f}" if factor < 1 else f"{factor:.0f}"
