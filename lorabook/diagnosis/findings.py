"""What is wrong with a training run, seen from what it left: `lorabook doctor --run DIR`.

Every check answers yes, no, or that what it needs is missing, always with the values it saw. So the same check tells
why a fault is there, or why another is not. What cannot be seen from a run:

- a label moved by the model or its loss: labels are looked at on their way into the loss;
- a rate somewhat too high or too low: only a loss that climbs, or does not move, is told;
- overfitting that sets in and ends below the starting loss, where the held-out loss was measured at both ends alone;
- another base, if the adapter was written by PEFT, whose files say nothing of the base's weights;
- anything about scaling, base and most of labels in a run without `run.json`, which `finetune` writes given an output
  folder;
- how prompts were made, a BOS put before them twice, a base loaded in 4 bits by its loader, how the model was merged.

What is found in the files of an adapter alone is in `adapter_findings`.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import correlation, fmean, stdev

from lorabook.diagnosis import adapter_findings
from lorabook.diagnosis.adapter_findings import Seen
from lorabook.diagnosis.read_run import Run, read_run
from lorabook.training.history import CLIMB, FEW_STEPS, History
from lorabook.training.record import FILE

ROUNDING = 0.01  # of a scaling measured in fp16
FLAT, STILL, FELL, GAP = 0.01, 0.02, 0.1, 1.0  # nats per answer token
SKIPPED = 0.1  # share of steps; the first few are how a loss scaler finds its scale
SMALL, FAR = 0.1, 3.0  # share of the first loss; standard deviations, by which a loss has fallen at once
PASSES = 3  # over the rows, after which those trained on are better known than others


@dataclass(frozen=True)
class Finding:
    """One fault, and whether it is there: `present` is None where it cannot be told. `seen` names the values."""

    name: str
    present: bool | None
    seen: str
    advice: str


NO_RECORD = None, f"the run has no {FILE}, which only lorabook writes"
NO_FACTORS = None, "the run left no LoRA factors"
NO_LOG = None, "no step is in a log"


def _masked(run: Run) -> Seen:
    if not run.record:
        steps = run.history.steps
        if not steps:
            return NO_LOG
        nothing = sum(s.loss == s.grad_norm == 0 for s in steps)
        return nothing == len(steps), f"loss and gradient norm are exactly 0 in {nothing} of {len(steps)} logged steps"
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


def _untrained(run: Run) -> Seen:
    if not run.factors:
        return NO_FACTORS
    still, layers, steps = (
        sum(norms.from_zero == 0 for norms in run.factors.values()),
        len(run.factors),
        len(run.history.steps),
    )
    seen = f"the log has {steps} steps, and the factor that starts at zero, B, is zero in {still} of {layers} layers"
    return not steps and still == layers, seen


def _unmoved(run: Run) -> Seen:
    if not run.factors:
        return NO_FACTORS
    if run.record and not run.history.steps:
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


def _not_finite(run: Run) -> Seen:
    steps, held_out, factors = run.history.steps, run.history.held_out, run.factors or {}
    if not steps and not factors:
        return NO_LOG
    lost = sum(not s.loss or not math.isfinite(s.loss) for s in steps)  # Trainer logs 0 in the place of NaN
    unknown = sum(not math.isfinite(loss) for _, loss in held_out)
    broken = sum(not math.isfinite(norms.A + norms.B) for norms in factors.values())
    seen = (
        f"{lost} of {len(steps)} logged losses are 0 or not finite, and so are {sum(s.skipped for s in steps)} "
        f"gradient norms, {unknown} of {len(held_out)} held-out losses, and A or B in {broken} of {len(factors)} layers"
    )
    return lost + unknown + broken > 0, seen


def _skipping(run: Run) -> Seen:
    steps = run.history.steps
    if not steps:
        return NO_LOG
    skipped, late = (sum(s.skipped for s in part) for part in (steps, steps[len(steps) // 2 :]))
    seen = f"{skipped} of {len(steps)} steps had a gradient that is not finite, {late} of them in the second half"
    return late > SKIPPED * len(steps) / 2, seen


def _too_fast(run: Run) -> Seen:
    history = run.history
    if re.search("loss is|not finite", history.stopped) and history.steps:
        return True, f"after {len(history.steps)} steps the run {history.stopped.rstrip('.')}"
    if len(history.steps) < FEW_STEPS:
        return None, _too_few(history)
    smooth, before = _smooth(history.losses), _before(history)
    width = len(history.losses) - len(smooth) + 1
    start = f"the held-out loss before training is {before[0]:.2f}, " if before else ""
    means = f"{smooth[0]:.2f} over the first {width} steps and at most {max(smooth):.2f} over any {width} in a row"
    return max(smooth) - max([smooth[0], *before]) > CLIMB, f"{start}the mean training loss is {means}"


def _flat(run: Run) -> Seen:
    history, losses = run.history, run.history.losses
    if len(losses) < FEW_STEPS or not all(map(math.isfinite, losses)) or (run.record and len(history.held_out) < 2):
        return None, _too_few(history)
    if run.record or (_before(history) and len(history.held_out) > 1):
        (_, before), (steps, after) = history.held_out[0], history.held_out[-1]
        seen = f"the held-out loss is {before:.3f} before and {after:.3f} after {steps} steps"
        return abs(after - before) < STILL, seen
    # else a line fitted to the training losses, and the standard error of its fall
    count, late = len(losses), losses[len(losses) // 2 :]
    scale = count * stdev(losses) / stdev(range(count))
    r = correlation(range(count), losses) if scale else 0.0
    fall, error = -r * scale, scale * math.sqrt((1 - r * r) / (count - 2))
    seen = (
        f"the logged loss falls by {fall:.3f} ± {error:.3f} over the run, from {losses[0]:.3f}, at a learning rate of "
        f"at most {max(s.lr for s in history.steps):.3g}"
    )
    if abs(fall) > 2 * error or losses[0] - fmean(late) > FAR * stdev(late):
        return False, seen
    held_out = [loss for _, loss in history.held_out]
    if len(held_out) > 1 and max(held_out) - min(held_out) < FLAT:
        return True, f"{seen}, and the held-out loss stays between {min(held_out):.3f} and {max(held_out):.3f}"
    return (True if 2 * error + abs(fall) <= SMALL * losses[0] else None), seen


def _by_heart(run: Run) -> Seen:
    history = run.history
    if len(history.steps) < FEW_STEPS or len(history.held_out) < 2:
        return None, _too_few(history)
    if run.passes is not None and run.passes <= 1:
        return False, f"no row was seen twice in {len(history.steps)} steps"
    smooth = _smooth(history.losses)
    fell = smooth[0] - smooth[-1]
    after, lowest = history.held_out[-1][1], min(loss for _, loss in history.held_out)
    gap = fell - (history.held_out[0][1] - after) if _before(history) else 0
    seen = f"the training loss fell by {fell:.2f}, the held-out loss ends {after - lowest:.2f} above its lowest"
    return fell > FELL and (after - lowest > FLAT or gap > GAP), seen


def _leaked(run: Run) -> Seen:
    history = run.history
    if len(history.steps) < FEW_STEPS or not history.held_out or run.passes is None:
        return None, _too_few(history)
    smooth, after = _smooth(history.losses), history.held_out[-1][1]
    known = run.passes >= PASSES and smooth[-1] < smooth[0] / 2 and after < smooth[-1] + FLAT
    seen = (
        f"after {run.passes:.1f} passes the training loss is {smooth[-1]:.3f}, from {smooth[0]:.3f}, and the held-out"
    )
    return known, f"{seen} loss {after:.3f}"


def _unwatched(run: Run) -> Seen:
    if run.writer == "PEFT":
        return NO_LOG
    history = run.history
    seen = f"the log has {len(history.steps)} training losses and {len(history.held_out)} held-out ones"
    return not history.held_out, seen


def _before(history: History) -> list[float]:
    """The held-out loss before training, if it was measured."""
    return [loss for step, loss in history.held_out[:1] if step == 0]


def _too_few(history: History) -> str:
    if not history.steps:
        return NO_LOG[1]
    return f"{len(history.steps)} steps and {len(history.held_out)} held-out losses are too few to tell"


def _smooth(losses: Sequence[float]) -> list[float]:
    """Means over an eighth of the run, at every place."""
    width = max(2, len(losses) // 8)
    return [fmean(losses[i : i + width]) for i in range(len(losses) - width + 1)]


CHECKS: tuple[tuple[str, Callable[[Run], Seen], str], ...] = (
    *adapter_findings.CHECKS,
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
        "NaN or zero loss",
        _not_finite,
        "Numbers ran out of fp16's range, or an evaluation had no labels: load the base and train in bf16, or in fp32 "
        "under fp16=True, and see that each row keeps labels after truncation.",
    ),
    (
        "never trained",
        _untrained,
        "The adapter changes nothing: save the model that was trained, after training, and not a fresh copy of it.",
    ),
    (
        "gradient cut off",
        _unmoved,
        "No gradient came to these layers: checkpoint with use_reentrant=False (in Trainer, "
        "gradient_checkpointing_kwargs), or let the embeddings' output require a gradient.",
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
        "Raise the learning rate if it is below 1e-4, or see whether anything that matters is trained.",
    ),
    (
        "overfitting",
        _by_heart,
        "Train for fewer epochs, on more rows, or with a smaller rank; Trainer keeps its best checkpoint with "
        "load_best_model_at_end=True.",
    ),
    (
        "evaluated on training data",
        _leaked,
        "Look for rows of the training set, or their copies, among those held out: rows never seen usually stay "
        "behind, unless there is a rule to learn that holds for all.",
    ),
    (
        "no evaluation",
        _unwatched,
        'Hold some rows out: eval_dataset, eval_strategy="steps", eval_steps, and logging_steps=10 or fewer.',
    ),
)
# A symptom is no finding of its own where one of these is found.
BEHIND = {
    "gradient cut off": ("all labels masked", "NaN or zero loss", "never trained"),
    "NaN or zero loss": ("all labels masked",),
    "scaler skipping": ("NaN or zero loss",),
    "learning rate too high": ("scaling is not α/r", "NaN or zero loss", "scaler skipping"),
    "overfitting": ("scaling is not α/r", "NaN or zero loss", "learning rate too high"),
    "loss flat": ("all labels masked", "NaN or zero loss", "both factors zero", "gradient cut off"),
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
    untold: dict[str, list[str]] = {}
    for finding in findings:
        if finding.present is None:
            untold.setdefault(finding.seen, []).append(finding.name)
    about = [f"run: {len(history.steps)} steps{'' if run.writer == 'lorabook' else ' logged'}, {history.stopped}"]
    if history.held_out:
        about.append(f"held-out loss: {' → '.join(f'{loss:.4f}' for _, loss in history.held_out)}")
    untold_lines = [f"cannot be told, {why}: {', '.join(names)}" for why, names in untold.items()]
    sound = [f for f in findings if f.present is False]
    lines = [
        f"folder: {'an adapter in the format' if run.writer == 'PEFT' else 'a run'} of {run.writer}",
        *(about if run.writer != "PEFT" else ()),
        f"adapter: {adapter_findings.describe(run.adapter) if run.adapter else 'none'}",
    ]
    if not present:  # what a terminal shows is the end
        return [
            *lines,
            *(f"{f.name}: no, {f.seen}" for f in sound),
            *untold_lines,
            f"found: nothing, by {len(sound)} checks",
        ]
    names = ", ".join(finding.name for finding in present)
    return [*lines, f"found: {names}", *(f"{f.name}: {f.seen}. {f.advice}" for f in present), *untold_lines]
