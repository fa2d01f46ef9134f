"""The figures: a run and its fixed run drawn over it, the doctor's table."""

import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb

from lorabook.training.history import History, Step
from lorabook.workbook.clinic.figures import confusion, patient


def history(losses: list[float]) -> History:
    steps = [Step(i + 1, loss, 1e-3, loss / 2, 10, 5, 0.1, 0) for i, loss in enumerate(losses)]
    return History(steps, [(0, losses[0]), (len(losses), losses[-1])], "finished")


def test_a_patient_is_its_curves_and_the_fixed_run_over_them():
    figure = patient(history([3.0, 6.0, 5.0]), "t", history([3.0, 2.5]))
    left, right = figure.axes
    curves = [list(line.get_ydata()) for line in left.get_lines() if line.get_linestyle() == "-"]
    assert curves == [[3.0, 6.0, 5.0], [3.0, 2.5]]
    assert [list(line.get_ydata()) for line in right.get_lines()] == [[1.5, 3.0, 2.5], [1.5, 1.25]]
    still = patient(history([0.0, 0.0]), "t").axes[1]
    assert len(still.get_lines()) == 1 and still.get_ylim() == (0, 1)


@pytest.mark.parametrize(
    ("ends", "numbers"),
    [
        ((3.0, 2.0), ["2.00", "3.00", "5.00"]),
        ((3.0, 5.0), ["3.00", "5.00"]),
        ((2.5, 2.0), ["2.00", "2.50", "3.00", "5.00"]),
    ],
)
def test_every_held_out_dot_has_its_number_and_dots_that_agree_one(ends, numbers):
    run, short = history([3.0, 6.0, 5.0]), history([1.0, 1.0])
    texts = patient(run, "t", History(short.steps, [(0, ends[0]), (3, ends[1])])).axes[0].texts
    assert sorted(text.get_text() for text in texts) == numbers
    places = {text.get_text(): text.xyann for text in texts}
    if ends[0] < 3.0:  # two numbers at one step: one over its dot, one under
        assert places["3.00"][1] > 0 > places["2.50"][1]
    assert [text.get_text() for text in patient(run, "t").axes[0].texts] == ["3.00", "5.00"]


def test_confusion_marks_what_is_wrong_in_another_colour():
    (axes,) = confusion({"a": {"a": 2, "other": 1, "b": 0}, "b": {"a": 0, "other": 0, "b": 3}}, "t").axes
    assert {text.get_position(): text.get_text() for text in axes.texts} == {(0, 0): "2", (1, 0): "1", (2, 1): "3"}
    (image,) = axes.get_images()
    shown = image.to_rgba(image.get_array())[..., :3]
    assert shown[0, 2] == pytest.approx(to_rgb("white"))
    assert shown[0, 0] == pytest.approx(shown[1, 2]) and list(shown[0, 0]) != list(shown[0, 1])
    assert pyplot.get_fignums() == []
