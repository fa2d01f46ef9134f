"""The clinic's stored runs: each broken one gets its fault named, no healthy one any; faults planted and taken out."""

import inspect

import pytest
from matplotlib import pyplot
from matplotlib.colors import to_rgb

from lorabook import LoRAConfig
from lorabook.diagnosis.findings import CHECKS, find_faults
from lorabook.errors import SettingError
from lorabook.models import load_model
from lorabook.training.history import History, Step
from lorabook.workbook.clinic import cases as clinic
from lorabook.workbook.clinic import faults
from lorabook.workbook.clinic.cases import HEALTHY, NAMES, OTHER, diagnose, stored
from lorabook.workbook.clinic.faults import FAULTS, planted
from lorabook.workbook.clinic.figures import confusion, patient

EVERY = [case for runs in stored().values() for case in runs]


# The stored runs


@pytest.mark.parametrize("case", EVERY, ids=lambda case: f"{case.name}, seed {case.seed}")
def test_the_fault_is_named_and_the_same_run_without_it_is_sound(case):
    assert [finding.name for finding in find_faults(case.broken)] == [case.name]
    assert find_faults(case.fixed) == []


def test_the_confusion_table_is_a_diagonal():
    table = clinic.confusion()
    for ill, said in table.items():
        assert {name for name, count in said.items() if count} == {ill}
    assert table[HEALTHY][HEALTHY] == sum(table[name][name] for name in NAMES) == len(EVERY)
    assert min(map(len, stored().values())) >= 2  # seeds
    assert set(table) == {*FAULTS, HEALTHY} and set(table[HEALTHY]) == {*FAULTS, HEALTHY, OTHER}


def test_every_fault_ends_worse_than_the_run_without_it_but_one():
    """What a loss curve can and cannot tell, in these runs."""
    worse = {case.name for case in EVERY if _end(case.broken) > _end(case.fixed) + 0.05}
    assert worse == set(FAULTS) - {"EOS never a label", "adapter on another base"}


def _end(facts) -> float:
    return facts.history.held_out[-1][1]


def test_every_name_is_told_apart_for_every_case():
    for case in clinic.cases():
        said = {name: diagnose(case, name) for name in NAMES}
        assert [name for name, text in said.items() if text.startswith("Yes, ")] == [case.name]
        assert all(text.startswith((f"Yes, “{name}”: ", f"No, not “{name}”: then ")) for name, text in said.items())
        assert len(set(said.values())) == len(NAMES)
    with pytest.raises(SettingError, match="no fault 'bad luck'"):
        diagnose(clinic.cases()[0], "bad luck")


def test_what_a_chart_shows_is_in_the_run():
    tokenizer = load_model("pocket", device="cpu").tokenizer
    charts = {case.name: case.chart(tokenizer) for case in clinic.cases()}
    assert "learning rate 0.05," in charts["learning rate too high"]
    assert all("learning rate 0.005," in chart for name, chart in charts.items() if name != "learning rate too high")
    assert "0 of them the end token" in charts["EOS never a label"]
    assert "an adapter whose run ended at 2." in charts["adapter on another base"]
    looks = {case.name: case.closer() for case in clinic.cases()}
    assert "A zero: 16 of 16, with B zero: 16" in looks["both factors zero"]
    assert "A zero: 0 of 16, with B zero: 12" in looks["gradient cut off"]
    assert "times 32\n" in looks["scaling is not α/r"] and "times 2\n" in looks["labels shifted"]


# Planting


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_an_edit_of_code_that_exists_and_leaves_no_trace(name):
    fault, before = FAULTS[name], FAULTS[name].function.__code__
    with planted(name):
        assert fault.function.__code__ != before
    assert fault.function.__code__ is before
    assert fault.old in inspect.getsource(fault.function) and fault.diff.startswith(f"- {fault.old}")
    assert name in dict.fromkeys(check for check, _, _ in CHECKS)


def test_a_planted_fault_is_the_one_its_diff_shows():
    with planted("scaling is not α/r"):
        assert LoRAConfig(r=16, alpha=8).scaling == 8
    assert LoRAConfig(r=16, alpha=8).scaling == 0.5


@pytest.mark.slow
def test_the_clinic_can_run_a_case_again(tmp_path):
    for sick, found in ((True, ["adapter on another base"]), (False, [])):
        facts = faults.train("adapter on another base", sick, tmp_path / str(sick), steps=2, batch=256)
        assert [finding.name for finding in find_faults(facts)] == found


# The figures


def history(losses: list[float]) -> History:
    steps = [Step(i + 1, loss, 1e-3, loss / 2, 10, 5, 0.1, 0) for i, loss in enumerate(losses)]
    return History(steps, [(0, losses[0]), (len(losses), losses[-1])], "finished")


def test_a_patient_is_its_curves_and_the_mended_run_over_them():
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
