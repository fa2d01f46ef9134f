"""What an update recovers of full fine-tuning's improvement, in the stored runs: LoRA's, and parts of ΔW."""

from statistics import fmean

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import tuned_runs

NAMES = {  # notebook 04's, and the stored ones
    "LoRA": "LoRA",
    "first r terms": "truncated",
    "the other terms": "rest",
}


def recovered(model: str) -> dict[str, dict[int, list[float]]]:
    """The recovery of every seed of "pocket" or "smollm2", by the name of the update in notebook 04 and by rank."""
    curves = by_stored_name(model)
    return {name: {r: curves[way][r] for r in (1, 4, 16)} for name, way in NAMES.items()}


def by_stored_name(model: str) -> dict[str, dict[int, list[float]]]:
    """As `recovered`, at all ranks, by the names of the stored result.

    LoRA's are those of `tuned_runs`. A part of ΔW recovers a fraction of what its own run of full fine-tuning gained.
    """
    found = stored("low_rank", "controls")["models"][model]
    base, runs = found["base"], found["runs"]
    ranks = [int(r) for r in runs[0]["energy"]]
    tuned = tuned_runs(model)
    curves = {"LoRA": {r: tuned[f"r = {r}, α = 32"].recoveries for r in ranks}}
    for way in runs[0]["losses"]:
        curves[way] = {r: [(base - run["losses"][way][str(r)]) / (base - run["test"]) for run in runs] for r in ranks}
    return curves


def recoveries(model: str) -> dict[str, dict[int, float]]:
    """The recoveries of one model by stored name and rank, means over seeds."""
    return {way: {r: fmean(seeds) for r, seeds in curve.items()} for way, curve in by_stored_name(model).items()}
