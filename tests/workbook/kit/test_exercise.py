"""The exercises: solutions pass, every mistake in the bank is told its own message, and `check` leaves no trace."""

import ast
import random
import re
from typing import Any

import numpy as np
import pytest
import torch

from lorabook.errors import SettingError
from lorabook.workbook.exercises import BY_ROOM, EXERCISES, check, hint, solution
from lorabook.workbook.kit.exercise import Raised, first_failure, judge, observe, plain, same, untouched
from tests.workbook.mistake_bank import Wrong, all_spellings, load, said, whole_bank

BANK = whole_bank()
SPELLINGS = all_spellings()
ALL = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=EXERCISES)
WRONG = pytest.mark.parametrize("wrong", BANK, ids=[f"{w.exercise}-{w.label.replace(' ', '-')}" for w in BANK])


# What is shipped


def test_every_exercise_has_its_place():
    assert {room: [e.name for e in group] for room, group in BY_ROOM.items()} == {
        "start": ["lora_size"],
        "from_scratch": ["lora_forward", "lora_merge", "lora_embedding", "tree_shapes"],
        "memory": ["block_values", "largest_batch"],
        "rank_and_alpha": ["largest_rank", "same_effect"],
        "low_rank": ["terms_needed", "chosen_terms"],
        "intrinsic_dimension": ["project_up", "read_d90"],
        "fastfood": ["fwht", "fastfood_adjoint"],
        "many_tasks": ["swap_merged", "mixed_forward"],
        "clinic": ["label_fault", "prompt_difference"],
    }
    assert len(EXERCISES) == 19  # no name twice


@ALL
def test_solution_passes_as_it_is_shown(exercise, capsys):
    solution(exercise.name)
    shown = capsys.readouterr().out
    line = said(capsys, exercise.name, load(shown))
    assert line == f"✓ {exercise.name}: {exercise.praise}"


@ALL
def test_stub_is_not_attempted_yet(exercise, capsys):
    line = said(capsys, exercise.name, load(exercise.stub))
    assert line.startswith(f"{exercise.name}: not attempted yet.")
    assert said(capsys, exercise.name, None) == said(capsys, exercise.name, ...) == line


@ALL
def test_stub_and_solution_fit_a_cell_and_each_other(exercise):
    def defined(source: str) -> tuple[str, Any]:
        last = ast.parse(source).body[-1]
        if isinstance(last, ast.Assign):
            return ast.unparse(last.targets[0]), sorted(load(source))
        assert isinstance(last, ast.FunctionDef | ast.ClassDef)
        functions = [node for node in ast.walk(last) if isinstance(node, ast.FunctionDef)]
        return last.name, [(f.name, ast.unparse(f.args)) for f in functions]

    assert defined(exercise.stub) == defined(exercise.solution)
    for source in (exercise.stub, exercise.solution):
        assert len(source.splitlines()) <= 25 and max(map(len, source.splitlines())) <= 120
    last = ast.parse(exercise.stub).body[-1]
    assert isinstance(last, ast.Assign) or ast.get_docstring(last), "a stub says what is asked"  # pyright: ignore


def test_hint_names_the_task(capsys):
    hint("fwht")
    out = capsys.readouterr().out
    assert out == f"{EXERCISES['fwht'].task}\nHint: {EXERCISES['fwht'].hint}\n"


@pytest.mark.parametrize("call", [lambda: check("lora", print), lambda: hint("lora"), lambda: solution("lora")])
def test_unknown_name_lists_those_that_exist(call):
    with pytest.raises(SettingError, match=r"no exercise 'lora'.*block_values.*label_fault"):
        call()


# The mistake bank


@WRONG
def test_wrong_answer_is_told_its_own_message_every_time(wrong: Wrong, capsys):
    messages = [m.message for m in EXERCISES[wrong.exercise].mistakes]
    (own,) = [m for m in messages if wrong.fragment in m]  # the fragment fits one message and no other
    line = said(capsys, wrong.exercise, wrong.answer)
    assert line.startswith(f"✗ {wrong.exercise}: {own}")
    assert re.fullmatch(r"| For .*", line.removeprefix(f"✗ {wrong.exercise}: {own}")), "the input at which it shows"
    torch.rand(1), random.random()
    assert judge(EXERCISES[wrong.exercise], wrong.answer) == line


@pytest.mark.parametrize(("name", "label", "answer"), SPELLINGS, ids=[f"{e}-{s}" for e, s, _ in SPELLINGS])
def test_a_right_answer_passes_however_it_is_written(name, label, answer, capsys):
    assert said(capsys, name, answer) == f"✓ {name}: {EXERCISES[name].praise}"


@ALL
def test_three_other_spellings_of_every_solution_are_tried(exercise):
    assert sum(name == exercise.name for name, *_ in SPELLINGS) >= 3


@ALL
def test_bank_holds_every_mistake_and_at_least_five(exercise):
    fragments = [w.fragment for w in BANK if w.exercise == exercise.name]
    assert len(fragments) >= 5
    unmet = [m.message for m in exercise.mistakes if not any(f in m.message for f in fragments)]
    assert unmet == []


@ALL
def test_no_two_mistakes_look_alike(exercise):
    """Each wrong reference fails, and no two with different messages fail first at one probe in the same way."""
    with untouched():
        seen = [(m, plain(first_failure(exercise, w))) for m in exercise.mistakes for w in m.wrong]
    for i, (mistake, failure) in enumerate(seen):
        assert failure is not None, mistake.message
        for other, its_failure in seen[:i]:
            assert other is mistake or not same(failure, its_failure), (mistake.message, other.message)


@ALL
def test_messages_are_sentences_of_their_own(exercise):
    messages = [m.message for m in exercise.mistakes]
    assert len(set(messages)) == len(messages)
    for text in (*messages, exercise.praise, exercise.hint, exercise.task):
        assert text.endswith((".", "?")) and "\n" not in text and len(text) <= 200


# No trace


def crash(*_):
    raise RuntimeError(f"first line of {object()}\nsecond line" + "!" * 500)


@ALL
def test_a_crash_is_one_line_and_always_the_same(exercise, capsys):
    if isinstance(exercise.reference, dict):
        pytest.skip("nothing is called")
    line = said(capsys, exercise.name, crash)
    assert "RuntimeError: first line of <object object> second line!!" in line and len(line) < 400
    assert line == said(capsys, exercise.name, crash)


def unruly(*_):
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    torch.set_grad_enabled(False)
    return 0


@ALL
@pytest.mark.parametrize("grad", [True, False])
def test_the_learner_s_session_stays_as_it_is(exercise, grad, capsys):
    def state() -> list[Any]:
        numbers = np.random.get_state()
        return [random.getstate(), numbers[1].tolist(), numbers[2], torch.get_rng_state().tolist(),
                torch.is_grad_enabled()]  # fmt: skip

    with torch.set_grad_enabled(grad):
        torch.rand(3), np.random.rand(3), random.random()
        before = state()
        for answer in (load(exercise.solution), unruly):
            check(exercise.name, answer)
            assert state() == before


@ALL
@pytest.mark.parametrize(
    "mode", [torch.inference_mode(), torch.no_grad(), torch.device("meta")], ids=["inference", "no_grad", "meta"]
)
def test_the_learner_s_modes_are_no_obstacle(exercise, mode, capsys):
    """A default device other than the CPU stands for the one of a GPU machine."""
    answer = load(exercise.solution)
    with mode:
        assert said(capsys, exercise.name, answer).startswith("✓")
        with untouched():  # were the reference to raise, an answer that raises as well would pass
            seen = [value for probe in exercise.probes for value in observe(probe, exercise.reference).values()]
    assert seen and not any(isinstance(value, Raised) for value in seen)


def test_what_an_answer_does_to_its_arguments_is_without_effect(capsys):
    def spoils(S, share):
        S.zero_()
        return S.sum()

    line = said(capsys, "terms_needed", spoils)
    assert line == said(capsys, "terms_needed", spoils)
    assert said(capsys, "terms_needed", load(EXERCISES["terms_needed"].solution)).startswith("✓")


@pytest.mark.parametrize(
    "noise", [lambda: torch.rand(1).item(), lambda: np.random.rand(), random.random], ids=["torch", "numpy", "random"]
)
def test_an_answer_that_draws_random_numbers_gets_the_same_line_too(noise, capsys):
    lines = {said(capsys, "lora_size", lambda d, k, r: noise()) for _ in range(3) if noise()}
    assert len(lines) == 1
