"""A training set that shares no question with the held-out set, nor a copy of one."""

import random
from collections.abc import Sequence

from lorabook.data.examples import Pair, prompt
from lorabook.errors import DataError, SettingError

OWN_WORDS = 20  # a shorter answer may be a label or a phrase that many questions share


def split(pairs: Sequence[Pair], held_out: float = 0.2, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """Split into (train, held out) by question id, so that no question is on both sides; each keeps its order.

    Questions under different ids that have the same text, or the same answer of 20 words or more, capitals and spacing
    aside, stay together too. `held_out`: a share of the questions, 0 to 1 and at least one question on each side, or
    their number (an int); more or fewer where copies must stay together. The choice depends on the ids, the copies and
    `seed` alone.

    Raises DataError for fewer than 2 questions that differ; SettingError if `held_out`
    leaves a side empty.
    """
    ids = sorted({pair.question_id for pair in pairs})
    if len(ids) < 2:
        raise DataError(f"There are {len(ids)} questions to split.", "Load at least 2.")
    is_share = not isinstance(held_out, int)
    if not (0 < held_out < 1 if is_share else 1 <= held_out < len(ids)):
        raise SettingError(
            f"held_out is {held_out}, with {len(ids)} questions.",
            f"Give a share between 0 and 1 or a number from 1 to {len(ids) - 1}.",
        )
    count = min(max(round(held_out * len(ids)), 1), len(ids) - 1) if is_share else int(held_out)
    random.Random(seed).shuffle(ids)
    group = _same_text(pairs)
    chosen: set[int] = set()
    for number in ids:
        if number not in chosen and len(chosen) + len(group[number]) <= count:
            chosen |= group[number]
    chosen = chosen or min((group[number] for number in ids), key=len)
    if len(chosen) == len(ids):
        raise DataError(f"All {len(ids)} questions are copies of one another.", "Load questions that differ.")
    return (
        [pair for pair in pairs if pair.question_id not in chosen],
        [pair for pair in pairs if pair.question_id in chosen],
    )


def _same_text(pairs: Sequence[Pair]) -> dict[int, set[int]]:
    """For every question id the ids of its group: itself, and those that share a question's or a long answer's text."""
    group = {pair.question_id: {pair.question_id} for pair in pairs}
    first: dict[tuple[str, ...], int] = {}
    for pair in pairs:
        question, answer = (tuple(t.lower().split()) for t in (prompt(pair), pair.answer))
        for text in (("question", *question), ("answer", *answer)):
            if text[0] == "answer" and len(answer) < OWN_WORDS:
                continue
            known = first.setdefault(text, pair.question_id)
            large, small = group[known], group[pair.question_id]
            if large is not small:
                large |= small
                group |= dict.fromkeys(small, large)
    return group
