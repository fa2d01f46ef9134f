"""The figures show what they are given."""

from lorabook.workbook.clinic.figures import scaled_update, three_losses


def test_right_answers_by_factor_with_the_merged_model_and_the_application_named():
    (axes,) = scaled_update({0.0: 0, 0.5: 19, 1.0: 20, 1.5: 20, 1.75: 0, 2.0: 0}).axes
    curve, merged, twice = axes.lines
    assert (list(curve.get_xdata()), list(curve.get_ydata())) == ([0, 0.5, 1, 1.5, 1.75, 2], [0, 19, 20, 20, 0, 0])
    assert [(*line.get_xdata(), *line.get_ydata()) for line in (merged, twice)] == [(1, 20), (2, 0)]
    assert [(text.get_text(), text.xy) for text in axes.texts] == [
        ("base model", (0, 0)),
        ("merged", (1, 20)),
        ("added twice", (2, 0)),
    ]
    assert axes.get_title() == "All right at 1 to 1.5 times the update, all wrong from 1.75 on"


def test_each_run_s_losses_begin_at_step_1():
    losses = {"healthy run": [4.0, 1.0], "case 9": [4.0, 9.0], "case 10": [4.0, 3.9]}
    (axes,) = three_losses({name: [(loss, 0.5) for loss in values] for name, values in losses.items()}).axes
    assert [list(line.get_ydata()) for line in axes.lines] == [[4.0, 1.0], [4.0, 9.0], [4.0, 3.9]]
    assert all(list(line.get_xdata()) == [1, 2] for line in axes.lines)
    assert [text.get_text() for text in axes.texts] == ["healthy run", "case 9", "case 10"]
