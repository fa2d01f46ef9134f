"""The break-even rank, counted by trying every rank."""

import pytest

from lorabook.errors import SettingError
from lorabook.workbook.kit.break_even import break_even_rank


def test_break_even_rank_is_the_largest_that_trains_no_more_parameters():
    for d in range(1, 30):
        for k in range(1, 30):
            expected = max(r for r in range(max(d, k)) if r * (d + k) <= d * k)
            assert break_even_rank(d, k) == break_even_rank(k, d) == expected
    assert break_even_rank(2304, 2048) == 1084 and break_even_rank(2048, 2048) == 1024


@pytest.mark.parametrize(("d", "k", "said"), [(0, 3, "d is 0. Give a whole number at least 1."), (3, 2.5, "k is 2.5.")])
def test_what_is_no_size_of_a_matrix_is_refused(d, k, said):
    with pytest.raises(SettingError, match=said):
        break_even_rank(d, k)
