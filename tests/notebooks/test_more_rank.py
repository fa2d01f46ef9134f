"""The page "More on rank and α": its tables are the stored results."""

from statistics import fmean

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import tuned_runs
from tests.kit.notebooks import MORE_RANK, table


def test_both_scalings_have_their_recovery_and_rate():
    expected = []
    for r in (1, 4, 16, 64):
        both = tuned_runs()[f"r = {r}, α = 32"], tuned_runs()[f"r = {r}, rsLoRA"]
        cells = [cell for run in both for cell in (f"{run.recovery:.0%}", f"{run.lr:g}")]
        expected.append([str(r), *cells])
    assert table(MORE_RANK, "rsLoRA") == expected


def test_the_embedding_hurts_at_the_rate_of_the_linear_layers():
    names = {"none": "all linear, r = 4"} | {rate: f"all linear, embedding at {rate}" for rate in ("1/16", "1")}
    models = tuned_runs("pocket"), tuned_runs("smollm2")
    expected = [[rate, *(f"{runs[name].recovery:.0%}" for runs in models)] for rate, name in names.items()]
    assert table(MORE_RANK, "Embeddings") == expected


def test_gain_and_forgetting_are_means_over_the_seeds():
    expected = []
    for name, found in stored("rank_and_alpha", "forgetting")["models"]["pocket"]["methods"].items():
        cells = []
        for part in (4, 2, 1):
            runs = [run for run in found["runs"] if abs(run["lr"] * part / found["best"] - 1) < 1e-6]
            assert len(runs) == 3
            cells.append(", ".join(f"{fmean(run[key] for run in runs):.3f}" for key in ("gain", "source")))
        expected.append([name, *cells])
    assert table(MORE_RANK, "What is forgotten") == expected
