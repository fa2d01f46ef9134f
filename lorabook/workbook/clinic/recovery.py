"""A case of the clinic run again, live, with other code in the place of the faulty piece.

    again = recover(cases()[2], lambda config: config.alpha / config.r)
    print(again)                          # what was wrong, then and now, and what the doctor finds
    again.recovered                       # True

The run has the settings, the seed and the examples of the stored one, and its stop button is pressed after a few steps:
so each of them lies beside the same step of the broken run and of the run without the fault.
"""

from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

from lorabook.diagnosis.findings import FEW_STEPS, find_faults
from lorabook.diagnosis.read_run import Run
from lorabook.errors import AdapterError
from lorabook.workbook.clinic.cases import Case
from lorabook.workbook.clinic.faults import FAULTS
from lorabook.workbook.clinic.short_run import train
from lorabook.workbook.kit.exercise import Raised

STEPS = 5  # live; under FEW_STEPS the doctor does not judge a loss that climbs
NEAR = 0.1  # nats per answer token, from the run without the fault


@dataclass(frozen=True)
class Sign:
    """What shows that a case is fixed: its name, its value in a run, and what to see in the figure then."""

    name: str
    value: Callable[[Run], str]
    title: str


def _zero(run: Run) -> str:
    assert run.factors
    return str(sum(norms.B == 0 for norms in run.factors.values()))


def _scaling(run: Run) -> str:
    assert run.record
    return ", ".join(sorted({f"{s:.3g}" for s in run.record.scalings.values()}))


def _labels(what: str) -> Callable[[Run], str]:
    def value(run: Run) -> str:
        assert run.record
        number = getattr(run.record.labels, what)
        return "no fixed number" if number is None else f"{number:,}"

    return value


SIGNS = {
    "scaling is not α/r": Sign("BAx is added times", _scaling, "the loss no longer jumps"),
    "both factors zero": Sign(
        "gradient norm at the first step", lambda run: f"{run.history.steps[0].grad_norm:.2f}", "there is a gradient"
    ),
    "labels shifted": Sign(
        "tokens from a position to its label", _labels("distance"), "the loss starts where the base's does"
    ),
    "all labels masked": Sign("labels", _labels("labels"), "there is a loss again, and a gradient"),
    "EOS never a label": Sign(
        "end tokens among the labels", _labels("end_labels"), "the curve says nothing, the count of ends does"
    ),
    "learning rate too high": Sign(
        "highest loss", lambda run: f"{max(run.history.losses[:FEW_STEPS]):.2f}", "the loss no longer jumps"
    ),
    "gradient cut off": Sign("layers with B zero", _zero, "a gradient reaches all layers"),
    "adapter on another base": Sign(
        "held-out loss at the start",
        lambda run: f"{run.history.held_out[0][1]:.2f}",
        "the run starts where its adapter's run ended",
    ),
}


@dataclass(frozen=True)
class Rerun:
    """The run of `case` with `fix` in the place of its faulty code: what it left, `live`, or why it did not run.

    `fix` None is the right code. `refusal` is what the loader of the adapter said where it stopped the run as its user
    had set it up; `live` is then the run on the right base.
    """

    case: Case
    fix: Any = None
    live: Run | None = None
    refusal: str = ""
    trouble: str = ""

    @property
    def off(self) -> float:
        """The largest distance of a step's loss, or the first held-out loss, from the run without the fault."""
        assert self.live
        ours, theirs = self.live.history, self.case.fixed.history
        pairs = [*zip(ours.losses, theirs.losses), (ours.held_out[0][1], theirs.held_out[0][1])]
        return max(abs(a - b) for a, b in pairs)

    @property
    def wanting(self) -> str:
        """What is still wrong, or nothing. The doctor decides, and the loss: it must be near that without the fault."""
        if not self.live:
            return self.trouble
        if found := find_faults(self.live):
            return f"the doctor finds {found[0].name}: {found[0].seen}"
        ours, step = self.live.history.losses, len(self.live.history.steps)
        wanted = self.case.fixed.history.losses[step - 1]
        if abs(ours[-1] - wanted) > NEAR:
            return f"the loss at step {step} is {ours[-1]:.2f}, and {wanted:.2f} without the fault"
        return ""

    @property
    def recovered(self) -> bool:
        return not self.wanting

    @property
    def title(self) -> str:
        return f"Fixed: {SIGNS[self.case.name].title}" if self.recovered else "Not fixed yet"

    def __str__(self) -> str:
        """The faulty code beside the fix, sign and loss of both runs, and whether this one recovered."""
        lines = [FAULTS[self.case.name].diff(self.fix)]
        if self.refusal:
            lines.append(f"as it was set up the run is refused: {self.refusal} So now on the base that fits.")
        if self.live:
            step, sign = len(self.live.history.steps), SIGNS[self.case.name]
            before = self.case.broken
            lines.append(f"{sign.name}: {sign.value(before)}, now {sign.value(self.live)}")
            if self.case.first is not None:
                lines.append(f"its adapter's run ended at {self.case.first:.2f}")
            losses = before.history.losses[step - 1], self.live.history.losses[-1]
            lines.append(f"loss at step {step}: {losses[0]:.2f}, now {losses[1]:.2f}")
        lines.append(f"not recovered: {self.wanting}" if self.wanting else "recovered: the doctor finds nothing")
        return "\n".join(lines)


def recover(case: Case, fix: Any = None) -> Rerun:
    """Run `case` again for a few steps, with `fix` in the place of its faulty code; without one, the right code.

    A fix that makes the run fail is told as the rerun's `trouble`.
    """
    again = _rerun(case, fix)
    assert fix is not None or again.recovered, f"the right code did not recover case {case.name!r}: {again.wanting}"
    return again


def _rerun(case: Case, fix: Any) -> Rerun:
    fault = FAULTS[case.name]
    code = fault.code(fault.right if fix is None else fix)
    stop = FEW_STEPS if case.name == "learning rate too high" else STEPS
    with TemporaryDirectory() as folder:
        try:
            try:
                return Rerun(case, fix, train(case.name, code, folder, case.seed, stop=stop, other_base=True))
            except AdapterError as refused:
                return Rerun(case, fix, train(case.name, code, folder, case.seed, stop=stop), refused.problem)
        except Exception as error:  # what a reader writes may raise anything
            if fix is None:
                raise
            return Rerun(case, fix, trouble=f"your code raised {Raised.of(error)}")
