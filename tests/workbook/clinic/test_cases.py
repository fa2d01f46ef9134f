"""The clinic's stored runs: each broken one gets its fault named, no healthy one any."""

import pytest

from lorabook.diagnosis.findings import find_faults
from lorabook.errors import SettingError
from lorabook.models import load_model
from lorabook.workbook.clinic import cases as clinic
from lorabook.workbook.clinic.cases import HEALTHY, NAMES, OTHER, diagnose, stored_cases
from lorabook.workbook.clinic.faults import FAULTS

EVERY = [case for runs in stored_cases().values() for case in runs]


@pytest.mark.parametrize("case", EVERY, ids=lambda case: f"{case.name}, seed {case.seed}")
def test_the_fault_is_named_and_the_same_run_without_it_is_sound(case):
    assert [finding.name for finding in find_faults(case.broken)] == [case.name]
    assert find_faults(case.fixed) == []


def test_the_confusion_table_is_a_diagonal():
    table = clinic.confusion()
    for ill, said in table.items():
        assert {name for name, count in said.items() if count} == {ill}
    assert table[HEALTHY][HEALTHY] == sum(table[name][name] for name in NAMES) == len(EVERY)
    assert min(map(len, stored_cases().values())) >= 2  # seeds
    assert set(table) == {*FAULTS, HEALTHY} and set(table[HEALTHY]) == {*FAULTS, HEALTHY, OTHER}


def test_every_fault_ends_worse_than_the_run_without_it_but_one():
    """What a loss curve can and cannot tell, in these runs."""
    worse = {case.name for case in EVERY if _end(case.broken) > _end(case.fixed) + 0.05}
    assert worse == set(FAULTS) - {"EOS never a label", "adapter on another base"}


def _end(run) -> float:
    return run.history.held_out[-1][1]


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
