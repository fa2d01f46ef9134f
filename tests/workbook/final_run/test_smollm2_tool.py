"""What SmolLM2 learned of the tool of notebook 09: the page says what is stored, of the notebook's own questions."""

import random

from lorabook.workbook.kit.stored import stored
from scripts.assets import smollm2_tool
from tests.kit.notebooks import MORE_FINETUNE, NOTEBOOKS, cells, table

TOOL = stored("final_run", "smollm2_tool")


def test_the_page_says_what_is_stored_of_the_tool():
    for (_, *shown), runs in zip(table(MORE_FINETUNE, "SmolLM2 on the tool"), TOOL["runs"].values(), strict=True):
        digits = 4 if runs[0]["after"]["loss"] < 0.01 else 2
        assert shown == [
            f"{runs[0]['before']['loss']:.2f}",
            ", ".join(f"{run['after']['loss']:.{digits}f}" for run in runs),
            ", ".join(str(run["after"]["exact"]) for run in runs),
            ", ".join(str(run["in training"]) for run in runs),
        ]


def test_the_notebook_says_what_longer_training_gave():
    runs = TOOL["runs"]["shuffled flags, longer"]
    first, second = (run["after"]["exact"] for run in runs)
    assert [run["in training"] for run in runs] == [77, 77]
    said = next(cell["source"] for cell in cells(NOTEBOOKS[9]) if cell.get("id") == "shuffle-t")
    assert f"all 77 training answers by heart, but got only {first} of the 19 new ones right ({second} with" in said


def test_the_runs_asked_the_notebook_s_questions():
    """Those that its cells write and shuffle."""
    names: dict = {"random": random, "experiment": lambda pairs: None, "ask": lambda model, question: ""}
    source = {cell["id"]: cell["source"] for cell in cells(NOTEBOOKS[9]) if "id" in cell}
    for cell in ("new-62", "shuffle-c", "facts-c"):
        exec(source[cell], names)
    asked = dict(
        zip(TOOL["runs"], [names[name] for name in ("pairs", "shuffled", "shuffled", "informed")], strict=True)
    )
    for kind, pairs in asked.items():
        assert [(pair.question, pair.answer) for pair in smollm2_tool.pairs(kind)] == pairs
        assert TOOL["new"][kind] == [answer for _, answer in pairs[TOOL["train"] :]]
