"""The stored times of a forward pass, over the base's."""

from lorabook.workbook.kit.stored import stored


def forward_times() -> dict[str, dict[str, tuple[float, float, float]]]:
    """By model and batch, by method: the lowest, the middle and the highest ratio to the base's time, on a CPU."""
    found = {}
    for run in stored("many_tasks", "latency")["runs"]:
        for row in run["rows"]:
            if run["device"] == "cpu" and row["what"] == "forward":
                name = f"{run['model']}, {row['batch']} × {row['sequence']} tokens"
                found[name] = {method: tuple(ratios) for method, ratios in row["ratios"].items()}
    return found
