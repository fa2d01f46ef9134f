"""The page "More on rank and α": its tables are the stored results."""

from statistics import fmean

from lorabook.workbook.kit.stored import stored
from lorabook.workbook.kit.tuned import tuned_runs
from lorabook.workbook.rank_and_alpha.valleys import valley
from tests.kit.notebooks import MORE_RANK, table


def test_with_more_questions_lora_recovers_less():
    columns = [tuned_runs(model, questions) for model in ("pocket", "smollm2") for questions in (240, 1500)]
    expected, lost = [], []
    for r in (1, 4, 16, 64):
        found = [runs.get(f"r = {r}, α = 32") for runs in columns]
        expected.append([str(r), *(f"{run.recovery:.0%}" if run else "–" for run in found)])
        lost += [few.recovery - many.recovery for few, many in zip(found[::2], found[1::2]) if few and many]
    assert table(MORE_RANK, "More questions") == expected
    assert 0.015 < min(lost) < 0.025 and 0.055 < max(lost) < 0.065


def test_layers_at_about_equal_numbers_of_parameters():
    pocket, smollm2 = tuned_runs("pocket"), tuned_runs("smollm2")
    rows = (
        ("attention, r = 13", "attention, r = 11"),
        ("MLP, r = 6", "MLP, r = 6"),
        ("all linear, r = 4", "all linear, r = 4"),
        (None, "W_q and W_v, r = 21"),
    )
    found = [[f"{runs[name].recovery:.0%}" if name else "–" for runs, name in zip((pocket, smollm2), r)] for r in rows]
    assert [row[1:] for row in table(MORE_RANK, "Which layers?")] == found
    for runs, column, (low, high) in ((pocket, 0, (56_500, 61_500)), (smollm2, 1, (1_100_000, 1_300_000))):
        assert all(low < runs[row[column]].parameters < high for row in rows if row[column])


def test_learning_rates_by_the_number_of_questions():
    factors = {}
    for questions in (50, 240, 1500):
        for model in ("pocket", "smollm2"):
            runs = tuned_runs(model, questions)
            full = runs["full fine-tuning"].lr
            ranks = [run.lr / full for name, run in runs.items() if name in {f"r = {run.r}, α = 32"}]
            factors.setdefault(questions == 240, []).extend(ranks)
    assert (min(factors[True]), max(factors[True])) == (4, 16)
    assert (min(factors[False]), max(factors[False])) == (2, 32)


def test_alphas_with_their_best_rates():
    found = {alpha: valley(16, alpha) for alpha in (2, 8, 32, 128)}
    expected = [[str(alpha), f"{each.best_lr:g}", f"{each.best_loss:.3f}"] for alpha, each in found.items()]
    assert table(MORE_RANK, "Alpha and the learning rate") == expected


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
