"""What the stored runs of "low_rank/controls" recover of full fine-tuning's improvement."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any


def recovered(found: Mapping[str, Any]) -> dict[str, dict[int, list[float]]]:
    """The recovery of every seed, by update and by rank, from one model of the stored result "low_rank/controls"."""
    base, full = found["base"]["test"], found["full"]["runs"]
    whole = fmean(run["test"] for run in full)
    curves = {
        "LoRA": {
            int(r): [(base - run["test"]) / (base - whole) for run in lora["runs"]] for r, lora in found["lora"].items()
        }
    }
    for way in full[0]["losses"]:
        curves[way] = {
            int(r): [(base - run["losses"][way][r]) / (base - run["test"]) for run in full]
            for r in full[0]["losses"][way]
        }
    return curves


def recoveries(found: Mapping[str, Any]) -> dict[str, dict[int, float]]:
    """Recoveries of one model by update and rank r, means over seeds; random entries have the first r terms' energy."""
    curves = recovered(found)
    names = {"entries": "random entries", "truncated": "first r terms", "LoRA": "LoRA"}
    return {name: {r: fmean(values) for r, values in curves[way].items()} for way, name in names.items()}


def full_fine_tuning(found: Mapping[str, Any]) -> str:
    """What full fine-tuning does to the test loss of one model, mean over seeds: what a recovery is a fraction of."""
    return f"full fine-tuning {found['base']['test']:.2f} → {fmean(run['test'] for run in found['full']['runs']):.2f}"
