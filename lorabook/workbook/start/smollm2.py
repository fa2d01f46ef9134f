"""Stored completions of SmolLM2, by the adapter that it wore."""

from lorabook.workbook.kit.stored import stored

HABITS = {  # and what was counted
    "docstrings": "functions",
    "type hints": "arguments",
    "two spaces": "indents",
    "camelCase": "multi-word names",
}


def stored_completions(prompt: int = 1, lines: int = 5) -> dict[str, str]:
    """The first lines of what the model makes of one of four comments, as released and with three of its adapters."""
    run = stored("many_tasks", "style_adapters")["models"]["smollm2"]
    texts = {"as released": run["base"][0]["asked"][prompt]}
    for habit in list(HABITS)[:3]:
        texts[f"with the adapter for {habit}"] = run["adapters"][habit][0]["asked"][prompt]
    return {name: "\n".join(text.splitlines()[:lines]) for name, text in texts.items()}


def stored_counts() -> str:
    """How often each habit showed up in 22 completions, as released and with its adapter: a table to print."""
    run = stored("many_tasks", "style_adapters")["models"]["smollm2"]
    table = [f"{'':32} {'as released':>12} {'with its adapter':>18}"]
    for habit, unit in HABITS.items():
        counts = (run["base"][0]["counts"][habit], run["adapters"][habit][0]["counts"][habit])
        before, after = (f"{seen} of {chances}" for seen, chances in counts)
        table.append(f"{unit + ' with ' + habit:32} {before:>12} {after:>18}")
    return "\n".join(table)
