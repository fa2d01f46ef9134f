"""What is wrong with a training run, seen from what it left: `lorabook doctor --run DIR`.

Every check answers yes, no, or that what it needs is missing, always with the values it saw. So the same check tells
why a fault is there, or why another is not. What cannot be seen from a run:

- a label moved by the model or its loss: labels are looked at on their way into the loss;
- a rate somewhat too high or too low: only a loss that climbs, or does not move, is told;
- overfitting that sets in and ends below the starting loss, where the held-out loss was measured at both ends alone;
- another base, if the adapter was written by PEFT, whose files say nothing of the base's weights;
- anything about labels, scaling and base in a run without `run.json`, which `finetune` writes given an output folder.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from lorabook.diagnosis.read_run import Run, read_run
from lorabook.training.history import CLIMB, FEW_STEPS, History
from lorabook.training.record import FILE

ROUNDING = 0.01  # of a scaling measured in fp16
FLAT, FELL, GAP = 0.01, 0.1, 1.0  # nats per answer token
SKIPPED = 0.1  # share of steps; the first few are how a loss scaler finds its scale


@dataclass(frozen=True)
class Finding:
    """One fault, and whether it is there: `present` is None where it cannot be told. `seen` names the values."""

    name: str
    present: bool | None
    seen: str
    advice: str


Seen = tuple[bool | None, str]
NO_RECORD = None, f"the run has no {FILE}"
NO_FACTORS = None, "the run left no LoRA factors"


def _masked(run: Run) -> Seen:
    if not run.record:
        return NO_RECORD
    labels = run.record.labels
    return not labels.labels, f"the first {labels.rows} rows bring {labels.labels:,} labels"


def _shifted(run: Run) -> Seen:
    if not run.record:
        return NO_RECORD
    labels = run.record.labels
    if not labels.labels:
        return False, "there is no label that could stand in the wrong place"
    if labels.distance == 1:
        return False, "the label of every position is the token after it"
    where = {0: "the token at that position itself", 2: "the token two places on", None: "no token at a fixed distance"}
    return True, f"the label of a position is {where[labels.distance]}"


def _endless(run: Run) -> Seen:
    if not run.record:
        return NO_RECORD
    labels = run.record.labels
    if labels.end_labels is None:
        return None, "the model names no end token"
    if not labels.labels:
        return False, "no token is a label, the end token among them"
    whole = f"of {labels.rows} rows {labels.whole_rows} end in the end token"
    return not labels.end_labels, f"{whole}, which is a label {labels.end_labels} times"


def _scaled(run: Run) -> Seen:
    if not run.record:
        return NO_RECORD
    lora, applied = run.record.lora, run.record.scalings
    if not lora or not applied:
        return None, "the run has no linear LoRA layer"
    if lora.get("rank_pattern") or lora.get("alpha_pattern"):
        return None, "some modules have an r or alpha of their own"
    root = "√" if lora["rslora"] else ""
    wanted = lora["alpha"] / (math.sqrt(lora["r"]) if root else lora["r"])
    rule = f"α/{root}r = {lora['alpha']:g}/{root}{lora['r']} = {wanted:g}"
    off = [s for s in applied.values() if abs(s - wanted) > ROUNDING * wanted]
    if off:
        return True, f"{len(off)} of {len(applied)} linear layers scale BAx by {off[0]:g}, where {rule}"
    return False, f"all {len(applied)} linear layers scale BAx by {rule}"


def _dead(run: Run) -> Seen:
    if not run.factors:
        return NO_FACTORS
    dead = [name for name, norms in run.factors.items() if norms.A == norms.B == 0]
    return bool(dead), f"both factors are zero in {len(dead)} of {len(run.factors)} layers"


def _unmoved(run: Run) -> Seen:
    if not run.factors:
        return NO_FACTORS
    if not run.history.steps:
        return None, "no step was taken"
    layers = run.factors
    still = [name for name, norms in layers.items() if norms.from_zero == 0]
    cut = [name for name in still if layers[name].drawn]
    if not cut and still:
        return False, f"B is zero in {len(still)} of {len(layers)} layers, but so is A"
    where = f", {cut[0]} the first" if cut else ""
    return bool(cut), f"the factor that starts at zero still is zero in {len(cut)} of {len(layers)} layers{where}"


def _elsewhere(run: Run) -> Seen:
    if not run.record:
        return NO_RECORD
    if not run.record.lora:
        return None, "the run adapted no layer"
    base, loaded, saved = run.record.base, run.record.trained_on, run.saved_on
    if loaded and not loaded.matches(base):
        return True, f"the adapter was trained on weights {loaded.exact[:8]}, this run's base is {base.exact[:8]}"
    if saved and not saved.matches(base):
        return True, f"the run began on weights {base.exact[:8]}, its adapter was saved on {saved.exact[:8]}"
    began = "an adapter of this base" if loaded else "new factors, or an adapter whose file names no base"
    return False, f"the run began with {began} ({base.exact[:8]})"


def _tied(run: Run) -> Seen:
    if not run.record:
        return NO_RECORD
    tied = run.record.tied
    if tied:
        return True, f"the weight of {tied[0]} is the other end's too, and only one end is adapted"
    return False, "no adapted layer shares its weight with another"


def _skipping(run: Run) -> Seen:
    steps = run.history.steps
    skipped, late = (sum(s.skipped for s in part) for part in (steps, steps[len(steps) // 2 :]))
    seen = f"{skipped} of {len(steps)} steps were skipped, {late} of them in the second half"
    return late > SKIPPED * len(steps) / 2, seen


def _too_fast(run: Run) -> Seen:
    history = run.history
    if re.search("loss is|not finite", history.stopped) and history.steps:
        return True, f"after {len(history.steps)} steps the run {history.stopped.rstrip('.')}"
    if len(history.steps) < FEW_STEPS:
        return None, _too_few(history)
    smooth, before = _smooth(history.losses), [loss for _, loss in history.held_out[:1]]
    width = len(history.losses) - len(smooth) + 1
    start = f"the held-out loss before training is {before[0]:.2f}, " if before else ""
    means = f"{smooth[0]:.2f} over the first {width} steps and at most {max(smooth):.2f} over any {width} in a row"
    return max(smooth) - max([smooth[0], *before]) > CLIMB, f"{start}the mean training loss is {means}"


def _flat(run: Run) -> Seen:
    history = run.history
    if len(history.steps) < FEW_STEPS or len(history.held_out) < 2:
        return None, _too_few(history)
    (_, before), (steps, after) = history.held_out[0], history.held_out[-1]
    return abs(after - before) < FLAT, f"the held-out loss is {before:.3f} before and {after:.3f} after {steps} steps"


def _by_heart(run: Run) -> Seen:
    history = run.history
    if len(history.steps) < FEW_STEPS or len(history.held_out) < 2:
        return None, _too_few(history)
    if run.record and len(history.steps) <= run.record.epoch:
        return False, f"no row was seen twice in {len(history.steps)} steps"
    smooth = _smooth(history.losses)
    fell = smooth[0] - smooth[-1]
    after, lowest = history.held_out[-1][1], min(loss for _, loss in history.held_out)
    gap = fell - (history.held_out[0][1] - after)
    seen = f"the training loss fell by {fell:.2f}, the held-out loss ends {after - lowest:.2f} above its lowest"
    return fell > FELL and (after - lowest > FLAT or gap > GAP), seen


def _too_few(history: History) -> str:
    return f"{len(history.steps)} steps and {len(history.held_out)} held-out losses are too few to tell"


def _smooth(losses: Sequence[float]) -> list[float]:
    """Means over an eighth of the run, at every place."""
    width = max(2, len(losses) // 8)
    return [fmean(losses[i : i + width]) for i in range(len(losses) - width + 1)]


CHECKS: tuple[tuple[str, Callable[[Run], Seen], str], ...] = (
    (
        "all labels masked",
        _masked,
        "Look at one row's labels as text: mask by where the answer starts, not by searching for a template.",
    ),
    (
        "labels shifted",
        _shifted,
        "Shift once: either the labels or the loss, not both and not neither.",
    ),
    (
        "EOS never a label",
        _endless,
        "End every answer with the end token, mask padding by length and not by its id, and cut fewer answers: a model "
        "that never saw its end does not stop.",
    ),
    (
        "scaling is not α/r",
        _scaled,
        "Multiply BAx by α/r (α/√r with rsLoRA): other programs will, when they load this adapter.",
    ),
    (
        "both factors zero",
        _dead,
        "Draw one factor at random: with both at zero neither has a gradient, for ever.",
    ),
    (
        "gradient cut off",
        _unmoved,
        "No gradient came to these layers: checkpoint with use_reentrant=False, or let the embeddings' output require "
        "a gradient.",
    ),
    (
        "adapter on another base",
        _elsewhere,
        "Load the base that the adapter was trained on, at its revision, and keep it frozen.",
    ),
    (
        "tied head adapted",
        _tied,
        "Unmerged this is sound. Merge with lorabook, which unties the two: PEFT 0.21 changes both ends at once.",
    ),
    (
        "scaler skipping",
        _skipping,
        "The gradient overflows fp16 again and again: use bf16 or fp32, or lower the learning rate.",
    ),
    (
        "learning rate too high",
        _too_fast,
        "Start again with a third of the rate or less.",
    ),
    (
        "loss flat",
        _flat,
        "Raise the learning rate, or see whether anything that matters is trained.",
    ),
    (
        "overfitting",
        _by_heart,
        "Train for fewer epochs, on more rows, or with a smaller rank.",
    ),
)
# A symptom is no finding of its own where one of these is found.
BEHIND = {
    "gradient cut off": ("all labels masked",),
    "learning rate too high": ("scaling is not α/r", "scaler skipping"),
    "overfitting": ("scaling is not α/r", "learning rate too high"),
    "loss flat": ("all labels masked", "both factors zero", "gradient cut off"),
}


def look(run: Run) -> list[Finding]:
    """What every check saw, in the order of CHECKS: causes before their symptoms."""
    findings: list[Finding] = []
    for name, check, advice in CHECKS:
        present, seen = check(run)
        cause = next((f.name for f in findings if f.present and f.name in BEHIND.get(name, ())), None)
        if present and cause:
            present, seen = False, f"{seen}, but {cause} explains it"
        findings.append(Finding(name, present, seen, advice))
    return findings


def find_faults(run: Run) -> list[Finding]:
    """The faults that are there."""
    return [finding for finding in look(run) if finding.present]


def report(folder: str | Path) -> list[str]:
    """The run in `folder` in lines of `name: value`: the faults found, or what was looked at and found sound."""
    run = read_run(folder)
    history, findings = run.history, look(run)
    present = [finding for finding in findings if finding.present]
    words = {True: "yes", False: "no", None: "cannot be told"}
    return [
        f"run: {len(history.steps)} steps, {history.stopped}",
        f"held-out loss: {' → '.join(f'{loss:.4f}' for _, loss in history.held_out)}",
        f"found: {', '.join(finding.name for finding in present) or 'nothing'}",
        *(f"{f.name}: {f.seen}. {f.advice}" for f in present),
        *(f"{f.name}: {words[f.present]}, {f.seen}" for f in findings if f.present is None or not present),
    ]
