"""How often the stored adapters of the pocket model show each habit."""

from lorabook.workbook.kit.stored import stored


def stored_shares() -> dict[str, dict[str, float]]:
    """By model, by habit: the fraction of opportunities in which it was shown, over all seeds.

    The base comes first. The last adapter is "plain", the control, which was trained on the code without any habit.
    """
    pocket = stored("many_tasks", "style_adapters")["models"]["pocket"]
    counts = {"base": pocket["base"], **pocket["adapters"]}
    counts = {name: [run["counts"] for run in runs] for name, runs in counts.items()}
    counts["plain"] = [run["+1 plain"] for run in stored("many_tasks", "style_sums")["runs"]]
    found: dict[str, dict[str, float]] = {}
    for name, runs in counts.items():
        pairs = {habit: [run[habit] for run in runs] for habit in pocket["adapters"]}
        found[name] = {habit: sum(s for s, _ in of) / sum(n for _, n in of) for habit, of in pairs.items()}
    return found
