"""How often the stored adapters of the pocket model show each habit."""

from lorabook.workbook.kit.stored import stored


def stored_shares() -> dict[str, dict[str, float]]:
    """By adapter, by habit: the fraction of opportunities in which it was shown, over all seeds.

    The base comes first. The last adapter is "plain", the control, which was trained on the code without any habit.
    """
    pocket = stored("many_tasks", "style_adapters")["models"]["pocket"]
    counts = {"base": pocket["base"], **pocket["adapters"]}
    counts = {name: [run["counts"] for run in runs] for name, runs in counts.items()}
    counts["plain"] = [run["+1 plain"] for run in stored("many_tasks", "style_sums")["runs"]]
    return {name: _shares(runs) for name, runs in counts.items()}


def _shares(runs: list[dict[str, tuple[int, int]]]) -> dict[str, float]:
    """By habit: the fraction of opportunities in which it was shown, over all runs."""
    return {habit: sum(run[habit][0] for run in runs) / sum(run[habit][1] for run in runs) for habit in runs[0]}
