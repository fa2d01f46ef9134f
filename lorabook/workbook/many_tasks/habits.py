"""How often the stored adapters of the pocket model show each habit."""

from lorabook.workbook.kit.stored import stored


def stored_shares() -> dict[str, dict[str, float]]:
    """By model, the base first, by habit: the fraction of opportunities in which it was shown, over all seeds."""
    pocket = stored("many_tasks", "style_adapters")["models"]["pocket"]
    found: dict[str, dict[str, float]] = {}
    for name, runs in {"base": pocket["base"], **pocket["adapters"]}.items():
        pairs = {habit: [run["counts"][habit] for run in runs] for habit in pocket["adapters"]}
        found[name] = {habit: sum(s for s, _ in of) / sum(n for _, n in of) for habit, of in pairs.items()}
    return found
