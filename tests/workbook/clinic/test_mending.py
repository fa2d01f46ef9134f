"""Cases of the clinic mended: what counts as recovered, what the reader is told, and the runs themselves."""

from dataclasses import replace

import pytest

from lorabook.diagnosis.findings import FEW_STEPS
from lorabook.training.history import History
from lorabook.workbook.clinic import faults, mending
from lorabook.workbook.clinic.cases import Case, cases
from lorabook.workbook.clinic.faults import FAULTS, planted
from lorabook.workbook.clinic.mending import SIGNS, Mended, mend

CASES = {case.name: case for case in cases()}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def first_steps(facts, n=FEW_STEPS):
    """What the stored run had left, had it been stopped after n steps."""
    return replace(facts, history=History(facts.history.steps[:n], facts.history.held_out[:1], "interrupted"))


def mended(case: Case, facts) -> Mended:
    return Mended(case, FAULTS[case.name].old, first_steps(facts))


# The verdict, on stored runs


@EACH
def test_the_run_without_the_fault_has_recovered_and_the_broken_one_has_not(case):
    assert mended(case, case.fixed).recovered and mended(case, case.fixed).off == 0
    again = mended(case, case.broken)
    assert again.wanting.startswith(f"the doctor finds {case.name}: ") and again.title == "Not mended yet"
    assert "\nnot recovered: the doctor finds" in str(again)


@EACH
def test_the_sign_of_a_case_changes_when_it_is_mended(case):
    sign = SIGNS[case.name]
    was, now = sign.value(case.broken), sign.value(case.fixed)
    assert was != now and f"\n{sign.name}: {was}, now {now}\n" in str(mended(case, case.fixed))
    assert sign.title in mended(case, case.fixed).title


def test_both_passages_stand_in_the_text():
    case = CASES["EOS never a label"]
    lines = str(mended(case, case.fixed)).split("\n")
    assert [line[0] for line in lines[:3]] == ["-", "-", "+"] and lines[2] == f"+ {FAULTS[case.name].old}"
    assert lines[-1] == "recovered: the doctor finds nothing"


def test_a_run_that_does_not_learn_has_not_recovered_though_no_fault_is_found():
    case = CASES["learning rate too high"]
    facts = first_steps(case.fixed)
    slow = [replace(step, loss=facts.history.losses[0]) for step in facts.history.steps]
    again = Mended(case, "", replace(facts, history=History(slow, facts.history.held_out, "interrupted")))
    assert again.wanting == f"the loss at step 8 is 3.28, and {facts.history.losses[-1]:.2f} without the fault"


def test_the_adapter_s_end_is_told_where_there_was_one():
    case = CASES["adapter on another base"]
    assert f"\nits adapter's run ended at {case.first:.2f}\n" in str(mended(case, case.fixed))
    assert case.fixed.history.held_out[0][1] == pytest.approx(case.first, abs=1e-3)


# The runs


@pytest.mark.slow
def test_with_the_library_s_own_code_a_case_runs_as_if_it_had_never_been_broken(monkeypatch):
    """The longest of the eight; the notebook runs them all, and nbval the notebook."""
    case = CASES["adapter on another base"]
    monkeypatch.setattr(mending, "STEPS", 2)
    again = mend(case)
    assert again.live
    assert again.recovered and again.off < 0.02
    assert again.live.history.stopped == "interrupted" and len(again.live.history.held_out) == 1
    assert len(again.live.history.steps) == 2 and again.refusal in str(again) and "refused" in str(again)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("gradient cut off", FAULTS["gradient cut off"].new.replace("use_reentrant=True", "use_reentrant=False")),
        ("EOS never a label", FAULTS["EOS never a label"].new.replace("if y != pad_id", "")),
        ("all labels masked", FAULTS["all labels masked"].new.replace("[:0]", "")),
    ],
)
def test_a_reader_s_line_mends_it_in_other_words(name, line, monkeypatch):
    monkeypatch.setattr(mending, "STEPS", 2)
    again = mend(CASES[name], line)
    assert again.recovered and again.off < 0.02, str(again)
    assert f"\n+ {line.splitlines()[0]}" in str(again)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        ("scaling is not α/r", "return self.alpha /", "your line raised SyntaxError: invalid syntax"),
        ("scaling is not α/r", "return alpha / r", "your line raised NameError: name 'alpha' is not defined"),
        ("scaling is not α/r", "return self.r / self.alpha", "the doctor finds scaling is not α/r: 16 of 16 linear"),
        ("adapter on another base", "if True:", "your line raised AdapterError: This adapter was trained on other"),
        ("adapter on another base", "if known is None:", "the doctor finds adapter on another base: the adapter was"),
        ("labels shifted", FAULTS["labels shifted"].old.replace("- 1", "- 0"), "the doctor finds labels shifted: "),
    ],
)
def test_a_line_that_does_not_mend_it_is_told_what_is_wanting(name, line, told, monkeypatch):
    monkeypatch.setattr(mending, "STEPS", 1)
    monkeypatch.setattr(faults, "FIRST", 1)
    code = FAULTS[name].function.__code__
    assert mend(CASES[name], line).wanting.startswith(told)
    assert FAULTS[name].function.__code__ is code


def test_a_fault_of_the_library_s_own_code_is_not_hidden(monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(mending, "train", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        mend(CASES["labels shifted"])
    assert mend(CASES["labels shifted"], "range(3)").trouble == "your line raised RuntimeError: a bug"


def test_a_line_is_planted_where_the_fault_would_stand():
    from lorabook import LoRAConfig

    with planted("scaling is not α/r", "return 7"):
        assert LoRAConfig(r=16, alpha=8).scaling == 7
    assert LoRAConfig(r=16, alpha=8).scaling == 0.5
