"""The stored run of SmolLM2-135M on StackOverflow answers: what it claims follows from what it holds."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lorabook.lora import LoRAConfig
from lorabook.memory.estimate import estimate
from lorabook.memory.plan import Plan
from lorabook.models.known import KNOWN
from lorabook.training.answers import Answer, AnswerQuality
from lorabook.workbook.kit.stored import stored

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "assets" / "smollm2_run.py"
RUN = stored("final_run", "smollm2_run")


@cache
def constants() -> dict[str, Any]:
    """The script's settings, read without running it."""
    found: dict[str, Any] = {}
    for node in ast.parse(SCRIPT.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            names = [name.id for name in node.targets[0].elts if isinstance(name, ast.Name)]
            found |= dict(zip(names, ast.literal_eval(node.value)))
    return found


def test_it_was_made_with_the_settings_of_its_script():
    run, c = RUN, constants()
    assert (run["script"], run["model"]) == ("scripts/assets/smollm2_run.py", KNOWN["smollm2"].hub_id)
    assert run["data"] == {
        "rows": c["ROWS"],
        "train": c["TRAIN"],
        "validation": c["VALIDATION"],
        "test": c["TEST"],
        "split_seed": c["SPLIT_SEED"],
    }
    assert (run["lora"]["r"], run["lora"]["alpha"]) == (c["R"], c["ALPHA"])
    assert [r["lr"] for r in run["rates"]["runs"]] == list(c["RATES"])
    assert [r["seed"] for r in run["runs"]] == list(c["SEEDS"])
    assert (run["new_tokens"], run["max_length"], len(run["answers"])) == (c["NEW_TOKENS"], c["MAX_LENGTH"], c["SHOWN"])


def test_the_rate_is_the_best_on_the_validation_split():
    rates = RUN["rates"]
    best = min(rates["runs"], key=lambda r: r["held_out"][-1][1])
    assert rates["best"] == best["lr"] and all(r["training"]["lr"] == best["lr"] for r in RUN["runs"])
    assert best["lr"] not in (
        rates["runs"][0]["lr"],
        rates["runs"][-1]["lr"],
    )  # the grid reaches beyond it on both sides


def test_each_seed_trains_on_every_question_once_and_its_curve_begins_at_the_base():
    for run in RUN["runs"]:
        every = constants()["EVERY"]
        steps = [step for step, _ in run["held_out"]]
        assert steps == [*range(0, run["steps"], every), run["steps"]] and len(run["loss"]) == run["steps"]
        assert run["questions"] == constants()["TRAIN"]
        assert run["held_out"][0][1] == pytest.approx(RUN["base"]["loss"], abs=1e-5)
        assert run["held_out"][-1][1] < run["held_out"][0][1] - 0.1


def test_the_peak_of_the_process_is_above_the_estimate_of_its_tensors_and_not_far():
    """The process also holds PyTorch, Python, the questions, and pages that the allocator has not given back."""
    plan = Plan(LoRAConfig(constants()["R"], constants()["ALPHA"]), 4, constants()["MAX_LENGTH"], "fp32")
    for run in RUN["runs"]:
        assert run["estimated_peak_bytes"] == estimate("smollm2", plan).predicted_peak
        assert run["training"]["micro_tokens"] == plan.batch * plan.sequence
        assert 1 < run["peak_bytes"] / run["estimated_peak_bytes"] < 1.5


def test_answers_are_the_models_own_and_nothing_of_a_post_but_its_title():
    for shown in RUN["answers"]:
        assert shown.keys() == {"question_id", "title", "base", "tuned"} and len(shown["title"]) < 200
        for answer in (shown["base"], *shown["tuned"]):
            assert answer.keys() == {"text", "tokens", "ended"} and answer["tokens"] <= RUN["new_tokens"]
            assert answer["ended"] or answer["tokens"] == RUN["new_tokens"]
    for which in ("base", *range(len(RUN["runs"]))):
        told = RUN["base"]["quality"] if which == "base" else RUN["runs"][which]["quality"]
        given = [shown["base"] if which == "base" else shown["tuned"][which] for shown in RUN["answers"]]
        part = AnswerQuality.of([Answer(**answer) for answer in given])
        assert told["answers"] == constants()["TEST"]
        # 30 of the 100 that the stored fractions are over: counts that the whole must contain
        for name in ("ended", "code"):
            assert round(getattr(part, name) * part.answers) <= round(told[name] * told["answers"])
