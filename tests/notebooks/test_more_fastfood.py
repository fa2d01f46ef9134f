"""The page "More on Fastfood": its tables are the stored results."""

from lorabook.workbook.kit.stored import stored
from tests.kit.notebooks import MORE_FASTFOOD, table

FOUND = stored("fastfood", "fastfood_factors")


def mean(values):
    return sum(values) / len(values)


def test_the_accuracies_are_means_over_ten_seeds():
    off = "", "dense", "B", "1", "Π", "G", "2", "H", "GΠ"  # in the order of the table's columns
    expected = []
    for d, runs in FOUND["digits"]["runs"].items():
        assert all(len(runs[variant]["test"]) == 10 for variant in off)
        expected.append([f"{int(d):,}", *(f"{mean(runs[variant]['test']):.0%}" for variant in off)])
    assert table(MORE_FASTFOOD, "Which factors does training need?") == expected


def test_the_losses_of_did_and_said():
    said = FOUND["said"]
    losses = {"before training": [said["base"]["test"]]}
    losses |= {name.upper(): [run["test"] for run in said[name]["runs"]] for name in ("did", "said")}
    assert table(MORE_FASTFOOD, "SAID, a scale for every tensor") == [
        [name, *(f"{value:.3f}" for value in (mean(values), min(values), max(values)))]
        for name, values in losses.items()
    ]
