"""The Rank explorer without a browser: every state, against the stored runs and NumPy's decomposition."""

from itertools import product

import numpy as np
import pytest

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import tuned_runs
from lorabook.workbook.low_rank import explorer as rank
from lorabook.workbook.low_rank.explorer import GREYS, QUESTIONS, RANKS, UPDATES, RankState
from lorabook.workbook.low_rank.figures import picture

ANSWERS = stored("low_rank", "answers")
SMOLLM2 = stored("low_rank", "controls")["models"]["smollm2"]


@pytest.mark.parametrize("r", RANKS)
def test_pictures_are_the_closest_of_their_rank(r):
    U, S, Vh = np.linalg.svd(picture().double().numpy(), full_matrices=False)
    near = ((U[:, :r] * S[:r]) @ Vh[:r]).reshape(80, 2, 120, 2).mean((1, 3)).clip(0, 1) * GREYS
    shown = np.array([ord(letter) - 35 for letter in ANSWERS["pictures"][str(r)]]).reshape(80, 120)
    assert np.abs(shown - near).max() <= 0.5 + 1e-6
    assert rank.levels(r) == ANSWERS["pictures"][str(r)]
    assert rank.picture_energy(r) == f"{100 * (S[:r] ** 2).sum() / (S**2).sum():.1f}%"


@pytest.mark.parametrize("r", RANKS)
def test_recoveries_are_those_of_the_stored_runs(r):
    found, base = rank.percentages(r), SMOLLM2["base"]
    for way in ("truncated", "rest", "scaled", "scaled rest"):
        each = [(base - run["losses"][way][str(r)]) / (base - run["test"]) for run in SMOLLM2["runs"]]
        assert found[way] == round(100 * np.mean(each))
    assert ("LoRA" in found) == (str(r) in ANSWERS["answers"]["LoRA"])
    if "LoRA" in found:
        assert found["LoRA"] == round(100 * tuned_runs("smollm2")[f"r = {r}, α = 32"].recovery)


def test_every_state_shows_the_answer_of_its_update():
    said = ANSWERS["answers"]
    for r, update, question in product(RANKS, UPDATES.values(), range(len(ANSWERS["questions"]))):
        shown = rank.shown(RankState(r, update, question))
        answers = said[update] if update == "full" else said[update].get(str(r))
        assert shown["answer"] == (answers[question] if answers else "(This answer isn't stored.)")
        assert shown["before"] == said["base"][question]
        assert shown["question"] == QUESTIONS[ANSWERS["questions"][question]["question_id"]]
        assert f"rank {r}:" in shown["title"]
        assert "rank r" not in shown["update"] and "first r" not in shown["update"]


def test_what_is_said_of_a_state():
    shown = rank.shown(RankState(r=1, update="LoRA"))
    energy, found = np.mean([run["energy"]["1"] for run in SMOLLM2["runs"]]), rank.percentages(1)
    assert f"ΔW keeps {100 * energy:.0f}% of its energy" in shown["readout"]
    assert f"the recovery is {found['truncated']}%" in shown["readout"]
    assert shown["readout"].endswith(f"scaled down to that energy, it is {found['scaled']}%.")
    assert shown["title"] == f"Recovery at rank 1: LoRA {found['LoRA']}%, ΔW's first term {found['truncated']}%"
    assert shown["update"] == "With LoRA trained at rank 1 added to the weights:"


def test_answers_differ_with_the_update():
    said = ANSWERS["answers"]
    assert said["base"] != said["full"] and said["truncated"]["64"] != said["truncated"]["1"]
    assert set(said["LoRA"]) == {"1", "4", "16"}
