"""The clinic: eight runs that failed, what their users saw, and why a name for the fault fits or not.

    case = cases()[0]
    print(case.chart())                       # what its user had at hand
    print(case.closer())                      # what can be had by looking closer
    print(diagnose(case, "labels shifted"))   # yes or no, and why

The runs are those of `scripts/assets/broken_runs.py`. Whether a name fits is for `lorabook.diagnosis.findings` to say,
from what the run left alone: the same function as behind `lorabook doctor --run`.
"""

from dataclasses import dataclass
from functools import cache

from lorabook.diagnosis.findings import find_faults, look
from lorabook.diagnosis.read_run import Run
from lorabook.errors import SettingError
from lorabook.workbook.clinic.faults import FAULTS
from lorabook.workbook.kit.stored import stored

NAMES = tuple(FAULTS)  # to choose from
HEALTHY, OTHER = "nothing", "another fault"

# What a run with the fault looks like.
SIGNS = {
    "scaling is not α/r": "the loss jumps at a learning rate that is right for α/r, and BAx comes in another size than "
    "the settings say",
    "both factors zero": "the loss never moves, every gradient is exactly zero, and so are A and B at the end",
    "labels shifted": "the training loss starts far above what the base reaches, since other tokens are asked for, and "
    "falls from there, while the held-out loss rises",
    "all labels masked": "the training loss is exactly zero from the first step on, and nothing is learned",
    "EOS never a label": "every curve looks healthy: only the count of end tokens among the labels tells",
    "learning rate too high": "the loss jumps as soon as the warm-up is over, and the run ends worse than its base",
    "gradient cut off": "there are labels and the loss falls, but less than it could, while layers behind the cut "
    "keep A as drawn and B at zero",
    "adapter on another base": "the held-out loss starts above the one that the adapter's own run ended with",
}


@dataclass(frozen=True)
class Case:
    """A run with the fault `name`, and the same run without it.

    `first` is the held-out loss at the end of the run whose adapter this one went on with; None where it began anew.
    """

    name: str
    seed: int
    broken: Run
    fixed: Run
    first: float | None
    cpu_seconds: float

    def chart(self, tokenizer=None) -> str:
        """Settings, labels and losses of the broken run, in lines; with a tokenizer the first labels as text."""
        history, record = self.broken.history, self.broken.record
        assert record and record.lora  # every stored run has them
        training, lora, labels = record.training, record.lora, record.labels
        tokens = training["batch_tokens"]
        checkpointing = "on" if training["activation_checkpointing"] else "off"
        began = "new factors" if self.first is None else f"an adapter whose run ended at {self.first:.2f}"
        lines = [
            f"LoRA: r = {lora['r']}, α = {lora['alpha']:g} on {len(record.scalings)} linear layers",
            f"training: learning rate {training['lr']:g}, {len(history.steps)} steps of {tokens:,} tokens, "
            f"activation checkpointing {checkpointing}",
            f"began with: {began}",
            f"labels of the first {labels.rows} rows: {labels.labels:,}, {labels.end_labels} of them the end token",
            f"held-out loss: {' → '.join(f'{loss:.2f}' for _, loss in history.held_out)}",
        ]
        if tokenizer and labels.first:
            pairs = [f"{tokenizer.decode([t])!r} → {tokenizer.decode([label])!r}" for t, label in labels.first[:4]]
            lines.insert(4, f"first positions → their labels: {', '.join(pairs)}")
        return "\n".join(lines)

    def closer(self) -> str:
        """Factors, scaling and base of the broken run, in lines."""
        factors, record = self.broken.factors, self.broken.record
        assert factors and record
        zero = {f: sum(getattr(norms, f) == 0 for norms in factors.values()) for f in "AB"}
        scalings = sorted({f"{s:.3g}" for s in record.scalings.values()})
        made_on = (record.trained_on or record.base).exact[:8]
        return "\n".join(
            [
                f"layers with A zero: {zero['A']} of {len(factors)}, with B zero: {zero['B']}",
                f"BAx is added times {', '.join(scalings)}",
                f"base of the run: {record.base.exact[:8]}; its adapter began on: {made_on}",
            ]
        )


@cache
def stored_cases() -> dict[str, tuple[Case, ...]]:
    """The runs that ship with the book, by fault, a case a seed."""

    def case(name: str, each: dict) -> Case:
        broken, fixed = (Run.from_json(each[which]) for which in ("broken", "fixed"))
        return Case(name, each["seed"], broken, fixed, each["first"], each["cpu_seconds"])

    kept = stored("clinic", "broken_runs")["cases"]
    return {name: tuple(case(name, each) for each in runs) for name, runs in kept.items()}


def cases() -> list[Case]:
    """A case of every fault, in the order in which the reader meets them."""
    return [runs[0] for runs in stored_cases().values()]


def diagnose(case: Case, name: str) -> str:
    """Whether the fault of `case` is `name`, and what in it says so.

    Raises:
        SettingError: `name` is none of NAMES.
    """
    if name not in NAMES:
        raise SettingError(f"There is no fault {name!r} in the clinic.", f"Choose among: {', '.join(NAMES)}.")
    finding = next(finding for finding in look(case.broken) if finding.name == name)
    if finding.present:
        return f"Yes, “{name}”: {finding.seen}. {finding.advice}"
    return f"No, not “{name}”: then {SIGNS[name]}. Here {finding.seen}."


def confusion() -> dict[str, dict[str, int]]:
    """By what is wrong with the stored runs, or nothing: how many of them the doctor says what of."""
    table = {ill: dict.fromkeys((*NAMES, OTHER, HEALTHY), 0) for ill in (*NAMES, HEALTHY)}
    for case in (case for runs in stored_cases().values() for case in runs):
        for ill, run in ((case.name, case.broken), (HEALTHY, case.fixed)):
            for said in [finding.name for finding in find_faults(run)] or [HEALTHY]:
                table[ill][said if said in table else OTHER] += 1
    return table
