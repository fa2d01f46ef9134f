"""Guess, then see: what is printed, and that running cells again is safe."""

import numpy as np
import pytest
import torch

from lorabook.workbook.kit import predictions as guesses
from lorabook.workbook.kit.predictions import predict, reveal


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(guesses, "_kept", {})
    monkeypatch.setattr(guesses, "_revealed", set())


@pytest.fixture
def said(capsys):
    """What `call` prints, one line."""

    def run(call, *arguments, **more) -> str:
        call(*arguments, **more)
        out = capsys.readouterr().out
        assert out.endswith("\n") and out.count("\n") == 1
        return out.strip()

    return run


def test_guess_and_value_stand_side_by_side(said):
    assert said(predict, "times", 10) == "your guess: 10"
    assert said(reveal, "times", 1.0213, "×") == "✗ you said 10×, it is 1.02×: 9.8 times too large"


def test_without_a_guess_the_text_is_always_the_same(said):
    assert said(predict, "times") == said(predict, "times", None) == said(predict, "times", ...) == "no guess yet"
    assert said(reveal, "times", 1.0213, "×") == said(reveal, "times", 1.0213, "×") == "no guess: it is 1.02×"


def test_a_committed_notebook_reads_the_same_in_any_order_of_runs(said):
    """predict, reveal, predict, reveal: what nbval compares does not depend on what ran before."""
    first = said(predict, "k"), said(reveal, "k", 2)
    assert (said(predict, "k"), said(reveal, "k", 2)) == first


def test_running_the_same_guess_again_changes_nothing(said):
    lines = [said(predict, "k", 10), said(reveal, "k", 5), said(predict, "k", 10), said(reveal, "k", 5)]
    assert lines == ["your guess: 10", "✗ you said 10, it is 5: 2 times too large"] * 2


def test_a_guess_after_the_reveal_is_allowed_and_marked(said):
    said(predict, "k", 10)
    said(reveal, "k", 5)
    assert said(predict, "k", 5) == "your guess: 5 (after the value was shown)"
    assert said(reveal, "k", 5) == "✓ you said 5 (after the value was shown), it is 5"
    assert said(predict, "k", 5) == "your guess: 5 (after the value was shown)"  # still late when run again
    said(predict, "other")
    said(reveal, "other", 1)
    assert "after the value was shown" in said(predict, "other", 1)


def test_words_are_right_where_they_are_the_same(said):
    said(predict, "case", "labels shifted")
    assert said(reveal, "case", "labels shifted") == "✓ you said labels shifted, it is labels shifted"
    assert said(reveal, "case", "loss flat") == "✗ you said labels shifted, it is loss flat"


def test_a_guess_under_a_misspelt_key_is_found(said):
    said(predict, "case 1", "loss flat")
    assert said(reveal, "csae 1", "x") == "no guess under 'csae 1': Did you mean case 1? It is x"


@pytest.mark.parametrize(
    ("guess", "value", "told"),
    [
        (700, 70, "10 times too large"),
        (7, 70, "10 times too small"),
        (100, 70, "43% too large"),
        (0, 70, "70 too small"),
        (-2, 0.5, "2.5 too small"),
        ("half", 70, ""),
        (float("nan"), 70, ""),
        (True, 70, ""),
    ],
)
def test_how_far_a_guess_is_off(guess, value, told):
    assert guesses.off_by(guess, value) == told


def test_an_emptied_guess_is_taken_back(said):
    said(predict, "k", 10)
    assert said(predict, "k", None) == "no guess yet"
    assert said(reveal, "k", 5) == "no guess: it is 5"


def test_keys_do_not_mix(said):
    said(predict, "a", 1)
    said(predict, "b", 2)
    assert said(reveal, "b", 3) == "✗ you said 2, it is 3: 33% too small"
    assert "after" not in said(predict, "a", 4)  # revealing b says nothing about a


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (69632, "", "69,632"),
        (16.946, "GiB", "16.9 GiB"),
        (0.0105214, "", "0.0105"),
        (1137207296.0, "", "1,137,207,296"),
        (1234.5, "MiB", "1,234 MiB"),
        (62.5, "%", "62.5%"),
        (1.02, "x", "1.02x"),
        (0, "", "0"),
        (-0.5, "nats", "-0.5 nats"),
        (True, "", "True"),
        ("the base", "", "the base"),
        ("about half", "×", "about half"),
        (np.float32(0.5), "×", "0.5×"),
        (np.int64(48), "", "48"),
        (torch.tensor(2.0), "", "2"),
        (float("nan"), "", "nan"),
        (float("inf"), "×", "inf×"),
        ((2304, 2048), "", "(2304, 2048)"),
    ],
)
def test_values_are_short_and_stable(said, value, unit, shown):
    assert said(reveal, "k", value, unit) == f"no guess: it is {shown}"


@pytest.mark.parametrize("guess", [10, 10.0, "10", "10×", " 10 × ", np.int64(10), "1e1"])
def test_a_guess_may_be_a_number_or_its_text(said, guess):
    said(predict, "k", guess)
    assert said(reveal, "k", 1.02, unit="×") == "✗ you said 10×, it is 1.02×: 9.8 times too large"


def test_words_and_thousands_are_kept(said):
    said(predict, "k", "about twice")
    assert said(reveal, "k", 1.02, "×") == "✗ you said about twice, it is 1.02×"
    said(predict, "n", "69,632")
    assert said(reveal, "n", 69632) == "✓ you said 69,632, it is 69,632"
    said(predict, "m", "16,95")  # a decimal comma, or a slip: not 1,695
    assert said(reveal, "m", 16.95) == "✗ you said 16,95, it is 16.9"


def test_a_guess_that_is_an_array_or_odd_object_does_not_raise(said):
    assert said(predict, "k", (2304, 2048)) == "your guess: (2304, 2048)"
    assert said(predict, "k", [1, 2]) == "your guess: [1, 2]"
    assert said(predict, "k", np.array([1, 2])) == said(predict, "k", np.array([1, 2]))
