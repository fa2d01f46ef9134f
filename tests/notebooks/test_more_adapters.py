"""The page "More on many adapters": its tables are the stored results."""

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.many_tasks.tasks import TASKS, stored_losses
from tests.kit.notebooks import MORE_ADAPTERS, table


def test_the_times_are_the_medians_of_writing_on_a_cpu():
    expected = [
        [run["model"], str(row["batch"]), *(f"{row['ratios'][way][1]:.2f}" for way in ("LoRA", "merged", "bottleneck"))]
        for run in stored("many_tasks", "latency")["runs"]
        for row in run["rows"]
        if run["device"] == "cpu" and row["what"] == "generate"
    ]
    assert table(MORE_ADAPTERS, "What a separate adapter costs") == expected and len(expected) == 4


def test_the_losses_are_those_of_each_adapter_on_each_task():
    losses = stored_losses()
    found = {"none": losses.base, **losses.table()}
    assert table(MORE_ADAPTERS, "The wrong adapter") == [
        [name, *(f"{of[task]:.2f}" for task in TASKS)] for name, of in found.items()
    ]


def test_the_sums_are_the_shares_over_all_seeds():
    runs = stored("many_tasks", "style_sums")["runs"]
    found = {}
    for name in runs[0]:
        row = [name.replace("+1 ", "+ ").replace("-1 ", "− ").removeprefix("+ ")]
        for habit in ("docstrings", "camelCase"):
            shown, chances = (sum(run[name][habit][i] for run in runs) for i in (0, 1))
            row.append(f"{shown / chances:.0%}")
        found[row[0]] = row
    rows = table(MORE_ADAPTERS, "Sums of adapters")
    assert rows == [found[row[0]] for row in rows] and len(rows) == len(found)
