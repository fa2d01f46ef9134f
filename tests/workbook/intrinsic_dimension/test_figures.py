"""The figure: the accuracies given are the accuracies drawn."""

import pytest
import torch

from lorabook.workbook.intrinsic_dimension.figures import accuracy_over_d, digits, predictions
from lorabook.workbook.kit.figures import VERMILION
from lorabook.workbook.kit.stored import stored


def test_every_checkpoint_is_drawn_over_d_with_the_new_layer_alone():
    found = stored("intrinsic_dimension", "pretraining")
    (axes,) = accuracy_over_d(found).axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    for share, checkpoint in found["checkpoints"].items():
        line = lines[f"{share}%"]
        assert list(line.get_xdata()) == [point["d"] for point in checkpoint["points"]]
        assert list(line.get_ydata()) == pytest.approx([sum(p["test"]) / 3 for p in checkpoint["points"]])
    *_, at_D, directly = [label.get_text() for label in axes.get_xticklabels()]
    assert at_D.startswith("d = D") and directly == "no P"
    stars = [line.get_ydata()[0] for line in axes.get_lines() if line.get_marker() == "*" and len(line.get_xdata())]
    full = [sum(found["checkpoints"][share]["full"]["test"]) / 3 for share in found["head"]]
    assert sorted(stars) == pytest.approx(sorted(full))
    hollow = [line for line in axes.get_lines() if line.get_markersize() == 9 and len(line.get_xdata())]
    assert [line.get_xydata().tolist() for line in hollow] == [
        [[514, pytest.approx(sum(head["test"]) / 3)]] for head in reversed(found["head"].values())
    ]


def test_the_digits_are_drawn_up_to_all_parameters():
    (axes,) = digits({30: 0.5, 200: 0.91, 8970: 0.98}, 0.892, 150, "t").axes
    curve, target, found, _ = axes.get_lines()
    assert found.get_xydata().tolist() == [[150, 0], [150, 0.892]]
    assert curve.get_xydata().tolist() == [[30, 0.5], [200, 0.91], [8970, 0.98]]
    assert set(target.get_ydata()) == {0.892}
    assert axes.get_xticklabels()[-1].get_text() == "D = 8,970"


def test_predictions_stand_below_their_images_and_are_red_where_wrong():
    images = torch.arange(128.0).view(2, 64)
    figure = predictions(images, torch.tensor([3, 7]), torch.tensor([3, 1]))
    assert [axes.images[0].get_array().tolist() for axes in figure.axes] == images.view(2, 8, 8).tolist()
    labels = [axes.xaxis.label for axes in figure.axes]
    said = [(label.get_text(), label.get_color() == VERMILION) for label in labels]
    assert said == [("3", False), ("7\n(is 1)", True)]
