"""An example as coloured text."""

import re

from lorabook.data.examples import Example
from lorabook.workbook.kit.coloured import ANSWER_COLOUR, coloured


def test_coloured_row_is_the_row_with_its_answer_coloured():
    class Letters:
        def decode(self, ids):
            return "".join(map(chr, ids))

    row = Example(tuple(map(ord, "Q: <b>x</b>\nA: y")), 12, 1)
    text = coloured(row, Letters())
    assert re.sub(r"\x1b\[[\d;]*m", "", text) == "Q: <b>x</b>\nA: y"
    assert text.index(ANSWER_COLOUR) == 12
