"""Cases of the clinic run again: what counts as recovered, what the reader is told, and the runs themselves."""

from dataclasses import replace

import pytest
from torch import nn
from torch.utils.checkpoint import checkpoint

from lorabook.data.batches import Batch, collate
from lorabook.diagnosis.findings import FEW_STEPS
from lorabook.peft_format import adapter_file
from lorabook.training.history import History
from lorabook.workbook.clinic import recovery, short_run
from lorabook.workbook.clinic.cases import Case, cases
from lorabook.workbook.clinic.faults import FAULTS
from lorabook.workbook.clinic.recovery import SIGNS, Rerun, recover

CASES = {case.name: case for case in cases()}
EACH = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def first_steps(run, n=FEW_STEPS):
    """What the stored run had left, had it been stopped after n steps."""
    return replace(run, history=History(run.history.steps[:n], run.history.held_out[:1], "interrupted"))


def rerun(case: Case, run) -> Rerun:
    return Rerun(case, live=first_steps(run))


# The verdict, on stored runs


@EACH
def test_the_run_without_the_fault_has_recovered_and_the_broken_one_has_not(case):
    assert rerun(case, case.fixed).recovered and rerun(case, case.fixed).off == 0
    again = rerun(case, case.broken)
    assert again.wanting.startswith(f"the doctor finds {case.name}: ") and again.title == "Not fixed yet"
    assert "\nnot recovered: the doctor finds" in str(again)


@EACH
def test_code_and_sign_of_a_case_change_when_it_is_fixed(case):
    sign, text = SIGNS[case.name], str(rerun(case, case.fixed))
    was, now = sign.value(case.broken), sign.value(case.fixed)
    assert was != now and f"\n{sign.name}: {was}, now {now}\n" in text
    assert text.startswith(FAULTS[case.name].diff()) and text.endswith("\nrecovered: the doctor finds nothing")
    assert sign.title in rerun(case, case.fixed).title


def test_a_run_that_does_not_learn_has_not_recovered_though_no_fault_is_found():
    case = CASES["learning rate too high"]
    run = first_steps(case.fixed)
    slow = [replace(step, loss=run.history.losses[0]) for step in run.history.steps]
    again = Rerun(case, live=replace(run, history=History(slow, run.history.held_out, "interrupted")))
    assert again.wanting == f"the loss at step 8 is 3.28, and {run.history.losses[-1]:.2f} without the fault"


def test_the_adapter_s_end_is_told_where_there_was_one():
    case = CASES["adapter on another base"]
    assert f"\nits adapter's run ended at {case.first:.2f}\n" in str(rerun(case, case.fixed))
    assert case.fixed.history.held_out[0][1] == pytest.approx(case.first, abs=1e-3)


# The runs


@pytest.mark.slow
def test_with_the_right_code_a_case_runs_as_if_it_had_never_been_broken(monkeypatch):
    """The longest of the eight; the notebook runs them all, and nbval the notebook."""
    case = CASES["adapter on another base"]
    monkeypatch.setattr(recovery, "STEPS", 2)
    again = recover(case)
    assert again.live
    assert again.recovered and again.off < 0.02
    assert again.live.history.stopped == "interrupted" and len(again.live.history.held_out) == 1
    assert len(again.live.history.steps) == 2 and again.refusal in str(again) and "refused" in str(again)


def recomputed(block: nn.Module) -> None:
    forward = block.forward
    block.forward = lambda x, *more, **options: checkpoint(
        lambda x: forward(x, *more, **options), x, use_reentrant=False
    )


def padded_otherwise(examples) -> Batch:
    return collate(examples, pad_id=3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fix"),
    [
        ("gradient cut off", recomputed),
        ("EOS never a label", padded_otherwise),
        ("all labels masked", collate),
    ],
)
def test_a_reader_s_code_fixes_it_in_other_words(name, fix, monkeypatch):
    monkeypatch.setattr(recovery, "STEPS", 2)
    again = recover(CASES[name], fix)
    assert again.recovered and again.off < 0.02, str(again)
    assert f"\n+ def {fix.__name__}(" in str(again)


def unshifted(examples) -> Batch:
    batch = collate(examples)
    return Batch(batch.input_ids, batch.label_positions + 1, batch.labels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "fix", "told"),
    [
        (
            "scaling is not α/r",
            lambda config: config.alpha / config.rank,
            "your code raised AttributeError: 'Settings'",
        ),
        ("scaling is not α/r", lambda: 2, "your code raised TypeError: "),
        ("scaling is not α/r", lambda config: config.r / config.alpha, "the doctor finds scaling is not α/r: 16 of 16"),
        ("adapter on another base", adapter_file.base_in, "your code raised TypeError: "),
        (
            "adapter on another base",
            FAULTS["adapter on another base"].wrong,
            "the doctor finds adapter on another base",
        ),
        ("labels shifted", unshifted, "the doctor finds labels shifted: "),
    ],
)
def test_code_that_does_not_fix_it_is_told_what_is_wanting(name, fix, told, monkeypatch):
    monkeypatch.setattr(recovery, "STEPS", 1)
    monkeypatch.setattr(short_run, "FIRST", 1)
    assert recover(CASES[name], fix).wanting.startswith(told)


def test_a_fault_of_the_book_s_own_code_is_not_hidden(monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr(recovery, "train", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        recover(CASES["labels shifted"])
    assert recover(CASES["labels shifted"], collate).trouble == "your code raised RuntimeError: a bug"
