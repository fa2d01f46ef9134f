"""What SmolLM2 learned of four tasks: notebook 09 and its page say what is stored."""

import random
from statistics import fmean

from lorabook import data
from lorabook.workbook.kit.stored import stored
from scripts.assets import smollm2_tool
from tests.kit.notebooks import MORE_FINETUNE, NOTEBOOKS, cells, table

TOOL, RUN, TITLES = (stored("final_run", f"smollm2_{name}") for name in ("tool", "run", "titles"))
NAMES = {"our tool, with the rule": "with a rule", "our tool, with random flags": "random flags"}


def test_the_notebook_compares_what_is_stored():
    def row(name, examples, before, after, right, of, digits=2):
        return f"| {name} | {examples} | {before:.2f} → {fmean(after):.{digits}f} | {right} of {of} |"

    expected = []
    for name, which in NAMES.items():
        runs = TOOL["runs"][which]
        after, right = [run["after"]["loss"] for run in runs], runs[0]["after"]["exact"]
        digits = 3 if which == "with a rule" else 2
        examples = f"{TOOL['train']} examples" if which == "with a rule" else TOOL["train"]
        expected.append(row(name, examples, runs[0]["before"]["loss"], after, right, len(TOOL["new"][which]), digits))
    ways = TITLES["ways"]
    after = [ways["seed 0"]["test"], ways["seed 1"]["test"]]
    expected.append(row("titles of questions about Python", TITLES["train"], ways["base"]["test"], after, 5, 10))
    after = [run["held_out"][-1][1] for run in RUN["runs"]]
    expected.append(row("answers to questions about Python", "1,500", RUN["base"]["loss"], after, 0, 10))
    (source,) = (cell["source"] for cell in cells(NOTEBOOKS[9]) if cell["id"] == "titles-t")
    assert "\n".join(expected) in source
    # "by more for random flags than for titles"
    drops = [run["before"]["loss"] - run["after"]["loss"] for run in TOOL["runs"]["random flags"]]
    assert min(drops) > max(ways["base"]["test"] - ways[seed]["test"] for seed in ("seed 0", "seed 1")) + 1


def test_the_page_says_what_is_stored_of_the_tool():
    for (_, *shown), runs in zip(table(MORE_FINETUNE, "SmolLM2 on the tool"), TOOL["runs"].values(), strict=True):
        digits = 4 if runs[0]["after"]["loss"] < 0.01 else 2
        assert shown == [
            f"{runs[0]['before']['loss']:.2f}",
            ", ".join(f"{run['after']['loss']:.{digits}f}" for run in runs),
            ", ".join(str(run["after"]["exact"]) for run in runs),
            ", ".join(str(run["in training"]) for run in runs),
        ]


def test_the_runs_asked_the_notebook_s_questions():
    """Those that its cells write, load, split and draw flags for."""
    names: dict = {"random": random}
    source = {cell["id"]: cell["source"] for cell in cells(NOTEBOOKS[9]) if "id" in cell}
    exec(source["new-62"], names)
    exec(source["shuffle-c"], names)
    for which, pairs in (("with a rule", names["mine"].pairs), ("random flags", names["ruleless"])):
        held = data.split(pairs, held_out=0.2)[1]
        assert [pair.answer for pair in held] == TOOL["new"][which]
        assert smollm2_tool.pairs(which == "with a rule") == pairs
