"""The page "More on low-rank updates": its code prints what the page says."""

import re

from tests.kit.notebooks import MORE_LOW_RANK


def test_the_gradient_has_a_low_rank_and_adam_s_step_has_not(capsys):
    page = MORE_LOW_RANK.read_text("utf-8")
    ((code, printed),) = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", page, re.DOTALL)
    exec(compile(code, MORE_LOW_RANK.name, "exec"), {})
    assert capsys.readouterr().out == printed
