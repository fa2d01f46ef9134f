"""Exercise: the clinic's diagnosis, written by the reader and tried on all stored runs."""

from typing import Any

from lorabook.diagnosis.run import Facts
from lorabook.workbook.clinic.cases import HEALTHY, Case, stored
from lorabook.workbook.kit.engine import Exercise, Mistake, attempt

# A cause before its symptoms, so that an answer fails first where it takes the one for the other.
ORDER = (
    "all labels masked",
    "labels shifted",
    "EOS never a label",
    "scaling is not α/r",
    "both factors zero",
    "gradient cut off",
    "adapter on another base",
    "learning rate too high",
)


def told(facts: Facts) -> dict[str, Any]:
    """What the exercise tells of a run."""
    record, factors, history = facts.record, facts.factors, facts.history
    assert record and record.lora and factors
    return {
        "labels": record.labels.labels,
        "end labels": record.labels.end_labels,
        "distance": record.labels.distance,
        "r": record.lora["r"],
        "alpha": record.lora["alpha"],
        "scaling": next(iter(record.scalings.values())),
        "layers": len(factors),
        "A zero": sum(norms.A == 0 for norms in factors.values()),
        "B zero": sum(norms.B == 0 for norms in factors.values()),
        "base": record.base.exact,
        "trained on": record.trained_on and record.trained_on.exact,
        "start": history.held_out[0][1],
        "losses": history.losses,
    }


def _runs(name: str) -> dict[str, dict[str, Any]]:
    """What is told of the broken runs of a fault, or of all healthy runs, with a label each."""
    numbers = {fault: number for number, fault in enumerate(stored(), start=1)}

    def label(case: Case, mended: str) -> str:
        return f"for case {numbers[case.name]}{mended} (seed {case.seed})"

    if name == HEALTHY:
        return {label(case, " mended"): told(case.fixed) for runs in stored().values() for case in runs}
    return {label(case, ""): told(case.broken) for case in stored()[name]}


def _named(name: str):
    """A probe of what the answer calls the runs of a fault."""
    return lambda answer: {label: attempt(answer, run) for label, run in _runs(name).items()}


CHECKS = {
    "all labels masked": lambda run: run["labels"] == 0,
    "labels shifted": lambda run: run["distance"] != 1,
    "EOS never a label": lambda run: run["end labels"] == 0,
    "scaling is not α/r": lambda run: abs(run["scaling"] - run["alpha"] / run["r"]) > 0.01,
    "both factors zero": lambda run: run["A zero"] > 0,
    "gradient cut off": lambda run: run["B zero"] > 0,
    "adapter on another base": lambda run: run["trained on"] not in (None, run["base"]),
    "learning rate too high": lambda run: max(run["losses"]) > run["start"] + 1,
}


def _by(*first: str, **changed):
    """The right answer, with these names asked for first, and checks changed: a name's first word is its keyword."""
    keyword = {name.split()[0]: name for name in ("labels shifted", *ORDER[3:], "all labels masked")}
    checks = CHECKS | {keyword[word]: check for word, check in changed.items()}
    order = (*first, *(name for name in ORDER if name not in first))
    return lambda run: next((name for name in order if checks[name](run)), HEALTHY)


NAME_FAULT = Exercise(
    name="name_fault",
    task="The name of what is wrong with a run, from its facts.",
    stub='''\
def name_fault(run):
    """One of the clinic's eight names, or "nothing", for a run of which you are told, in a dictionary:

    "labels" and "end labels": how many there are in its first rows, and how many of them are the end token;
    "distance": from a position to the token that is its label, None if there is no label;
    "r", "alpha", and "scaling", by which B A x is truly multiplied;
    "layers", and of them "A zero" and "B zero": those where that factor is zero at the end;
    "base": its weights' fingerprint, "trained on": that of the base of the adapter it went on with, None for a new one;
    "start": the held-out loss before the first step, "losses": those of all steps.
    """
    raise NotImplementedError
''',
    hint="Ask for causes before their symptoms: which faults leave B at zero, and which make the loss leap? "
    "The healthy runs' losses wander by half a nat.",
    solution="""\
def name_fault(run):
    if run["labels"] == 0:
        return "all labels masked"
    if run["distance"] != 1:
        return "labels shifted"
    if run["end labels"] == 0:
        return "EOS never a label"
    if abs(run["scaling"] - run["alpha"] / run["r"]) > 0.01:
        return "scaling is not α/r"
    if run["A zero"]:
        return "both factors zero"
    if run["B zero"]:
        return "gradient cut off"
    if run["trained on"] not in (None, run["base"]):
        return "adapter on another base"
    if max(run["losses"]) > run["start"] + 1:
        return "learning rate too high"
    return "nothing"
""",
    praise="every stored run named, broken or healthy, and no symptom taken for its cause.",
    reference=_by(),
    probes=tuple(map(_named, (*ORDER, HEALTHY))),
    mistakes=(
        Mistake(
            "you called masked labels a cut gradient. Without a label there is no gradient, so B stays at zero: ask "
            "for the labels first.",
            (_by("gradient cut off"), _by("both factors zero", "gradient cut off")),
        ),
        Mistake(
            "you called masked labels shifted. A run without labels has no distance either: ask for their number.",
            (_by("labels shifted"),),
        ),
        Mistake(
            "you called masked labels a missing end. No label is the end token because there is none at all.",
            (_by("EOS never a label"),),
        ),
        Mistake(
            "you called a run sound because its loss fell. That of shifted labels falls too, as do others.",
            (
                lambda run: HEALTHY if run["losses"][-1] < run["losses"][0] else _by()(run),
                lambda run: _by()(run) if run["losses"][-1] >= run["losses"][0] - 0.1 else HEALTHY,
            ),
        ),
        Mistake(
            "you took a raw α for too high a rate. The loss leaps in both: ask first whether the scaling is α/r.",
            (_by("learning rate too high"), _by(scaling=lambda run: run["scaling"] != run["alpha"])),
        ),
        Mistake(
            "you called two zero factors a cut gradient. B is zero in both, A in one of them: ask for A before B.",
            (_by("all labels masked", "gradient cut off"),),
        ),
        Mistake(
            "you asked for B at zero in every layer. The gradient may be cut for some of them: one is enough.",
            (_by(gradient=lambda run: run["B zero"] == run["layers"]),),
        ),
        Mistake(
            "you took a new adapter for one from elsewhere. Its run tells no other base: None is not a difference.",
            (_by(adapter=lambda run: run["trained on"] != run["base"]),),
        ),
        Mistake(
            "you took any loss above the start for a leap. One step's rows are harder than another's: leave a margin.",
            (
                _by(learning=lambda run: max(run["losses"]) > run["start"]),
                _by(learning=lambda run: max(run["losses"]) > run["losses"][0]),
            ),
        ),
    ),
)

EXERCISES = (NAME_FAULT,)
