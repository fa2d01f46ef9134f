"""Drawing memory: an axis that stands still."""

from hypothesis import given
from hypothesis import strategies as st

from lorabook.workbook.kit.memory_bars import axis_top


@given(st.floats(2**22, 2**50))
def test_axis_has_room_above_the_bars_and_is_a_round_number(highest):
    top = axis_top(highest, 12 * 2**30)
    assert top >= 1.1 * highest
    assert top <= 2.3 * highest or highest < 12 * 2**30
    unit = next(unit for unit in (2**40, 2**30, 2**20) if top >= 2 * unit)
    digits = f"{top / unit:.6e}".split("e")[0].rstrip("0").rstrip(".")
    assert digits in {"1", "1.2", "1.5", "2", "2.5", "3", "4", "5", "6", "8"}
