"""What the stored runs of "low_rank/controls" recover of full fine-tuning's improvement."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any

NAMES = {  # what notebook 04 calls an update, and its name in the stored result
    "LoRA": "LoRA",
    "first r terms": "truncated",
    "ΔW shrunk": "scaled",
}


def recovered(found: Mapping[str, Any]) -> dict[str, dict[int, list[float]]]:
    """The recovery of every seed, by the name of the update and by rank, of one model of "low_rank/controls"."""
    curves = by_stored_name(found)
    return {name: curves[stored] for name, stored in NAMES.items() if stored in curves}


def by_stored_name(found: Mapping[str, Any]) -> dict[str, dict[int, list[float]]]:
    """As `recovered`, by the names of the stored result, all of them."""
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
    """The recoveries of one model by stored name and rank, means over seeds."""
    return {way: {r: fmean(seeds) for r, seeds in curve.items()} for way, curve in by_stored_name(found).items()}
