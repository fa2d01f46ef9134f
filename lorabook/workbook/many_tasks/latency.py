"""How long a pass or an answer takes, over the base's time, as it was stored."""

from typing import Literal

from lorabook.workbook.kit.stored import stored


def time_ratios(what: Literal["forward", "generate"]) -> dict[str, dict[str, float]]:
    """By model and batch, by method ("LoRA", "merged", "bottleneck"): the median ratio to the base's time, on a CPU.

    "forward" is a pass of 128 tokens, "generate" writes 32 tokens, one at a time.
    """
    found = {}
    for run in stored("many_tasks", "latency")["runs"]:
        for row in run["rows"]:
            if run["device"] == "cpu" and row["what"] == what:
                medians = {method: middle for method, (_, middle, _) in row["ratios"].items()}
                found[f"{run['model']}, batch {row['batch']}"] = medians
    return found
