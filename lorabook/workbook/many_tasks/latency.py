"""How long writing takes, over the base's time, as it was stored."""

from lorabook.workbook.kit.stored import stored


def time_ratios() -> dict[str, dict[str, float]]:
    """By model and batch, by method ("LoRA", "merged", "bottleneck"): the median ratio to the base's time, on a CPU.

    Timed is writing 32 tokens, one at a time.
    """
    found = {}
    for run in stored("many_tasks", "latency")["runs"]:
        for row in run["rows"]:
            if run["device"] == "cpu" and row["what"] == "generate":
                medians = {method: middle for method, (_, middle, _) in row["ratios"].items()}
                found[f"{run['model']}, batch {row['batch']}"] = medians
    return found
