"""A case of the clinic mended: its run again, live, with a line of the reader's in the place of the faulty passage.

    mended = mend(cases()[2], "return self.alpha / self.r")
    print(mended)                          # what was wrong, then and now, and what the doctor finds
    mended.recovered                       # True

The run has the settings, the seed and the rows of the stored one, and its stop button is pressed after a few steps: so
each of them lies beside the same step of the broken run and of the run without the fault.
"""

from collections.abc import Callable
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from lorabook.diagnosis.findings import FEW_STEPS, find_faults
from lorabook.diagnosis.run import Run
from lorabook.errors import AdapterError
from lorabook.workbook.clinic.cases import Case
from lorabook.workbook.clinic.faults import FAULTS, planted, train
from lorabook.workbook.kit.exercise import Raised

STEPS = 5  # live; under FEW_STEPS the doctor does not judge a loss that climbs
NEAR = 0.1  # nats per answer token, from the run without the fault


@dataclass(frozen=True)
class Sign:
    """What shows that a case is mended: its name, its value in a run, and what to see in the figure then."""

    name: str
    value: Callable[[Run], str]
    title: str


def _zero(facts: Run) -> str:
    assert facts.factors
    return str(sum(norms.B == 0 for norms in facts.factors.values()))


def _scaling(facts: Run) -> str:
    assert facts.record
    return ", ".join(sorted({f"{s:.3g}" for s in facts.record.scalings.values()}))


def _labels(what: str) -> Callable[[Run], str]:
    def value(facts: Run) -> str:
        assert facts.record
        number = getattr(facts.record.labels, what)
        return "no fixed number" if number is None else f"{number:,}"

    return value


SIGNS = {
    "scaling is not α/r": Sign("BAx is added times", _scaling, "the loss no longer leaps"),
    "both factors zero": Sign(
        "gradient norm at the first step", lambda f: f"{f.history.steps[0].grad_norm:.2f}", "there is a gradient again"
    ),
    "labels shifted": Sign(
        "tokens from a position to its label", _labels("distance"), "the loss starts where the base's does"
    ),
    "all labels masked": Sign("labels", _labels("labels"), "there is a loss again, and a gradient"),
    "EOS never a label": Sign(
        "end tokens among the labels", _labels("end_labels"), "the curve says nothing, the count of ends does"
    ),
    "learning rate too high": Sign(
        "highest loss", lambda f: f"{max(f.history.losses[:FEW_STEPS]):.2f}", "the loss no longer leaps"
    ),
    "gradient cut off": Sign("layers with B zero", _zero, "a gradient reaches all layers"),
    "adapter on another base": Sign(
        "held-out loss at the start",
        lambda f: f"{f.history.held_out[0][1]:.2f}",
        "the run starts where its adapter's run ended",
    ),
}


@dataclass(frozen=True)
class Mended:
    """The run of `case` with `line` in its code: what it left, `live`, or why it did not run.

    `refusal` is what the check of the base said, where it stopped the run as its user had set it up; `live` is then the
    run on the right base.
    """

    case: Case
    line: str
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
        return f"Mended: {SIGNS[self.case.name].title}" if self.recovered else "Not mended yet"

    def __str__(self) -> str:
        """The edit undone, the sign of the fault and the loss of both runs, and whether this one recovered."""
        lines = [f"{mark} {line}" for mark, text in self._passages for line in text.split("\n")]
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
        verdict = f"not recovered: {self.wanting}" if self.wanting else "recovered: the doctor finds nothing"
        return "\n".join([*lines, verdict])

    @property
    def _passages(self) -> tuple[tuple[str, str], ...]:
        return ("-", FAULTS[self.case.name].new), ("+", self.line)


def mend(case: Case, line: str | None = None) -> Mended:
    """Run `case` again for a few steps, with `line` where the faulty passage stood; without one, the library's own.

    A line that cannot stand there, or makes the run fail, is told as the mending's `trouble`.
    """
    own = FAULTS[case.name].old
    written = own if line is None else line
    stop = FEW_STEPS if case.name == "learning rate too high" else STEPS
    with TemporaryDirectory() as folder:
        try:
            try:
                return Mended(case, written, train(case.name, True, folder, case.seed, line=written, stop=stop))
            except AdapterError as refused:
                with planted(case.name, written):
                    live = train(case.name, False, folder, case.seed, stop=stop)
                return Mended(case, written, live, refused.problem)
        except Exception as error:  # what a reader writes may raise anything
            if line is None:
                raise
            return Mended(case, written, trouble=f"your line raised {Raised.of(error)}")
