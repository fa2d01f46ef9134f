"""What sweeps over the pocket model have in common: their rows, runs that are kept, and the search for a rate."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from lorabook.data import stackoverflow
from lorabook.data.examples import Example, encode_all
from lorabook.data.split import split

ROWS, HELD_OUT, MAX_LENGTH, BATCH = 240, 100, 256, 2048
LIVE_HELD = 40


def real_rows(data: str, tokenizer, rows: int = ROWS) -> tuple[list[Example], list[Example]]:
    """`rows` questions of `data` to train on, and HELD_OUT others, which are the same for every `rows`."""
    # Twice as many rows as questions wanted: some answer the same question.
    found = stackoverflow.load(data, rows=2 * (ROWS + HELD_OUT)).pairs[: ROWS + HELD_OUT]
    train, held = split(found, HELD_OUT)
    if rows > ROWS:
        taken = {pair.question_id for pair in found}
        more = stackoverflow.load(data, rows=3 * rows).pairs
        train += [pair for pair in more if pair.question_id not in taken]
    return encode_all(train[:rows], tokenizer, MAX_LENGTH), encode_all(held, tokenizer, MAX_LENGTH)


def live_rows(tokenizer) -> tuple[list[Example], list[Example]]:
    """The bundled sample, as the notebooks' short runs take it."""
    train, held = split(stackoverflow.load("sample").pairs, LIVE_HELD)
    return encode_all(train, tokenizer, MAX_LENGTH), encode_all(held, tokenizer, MAX_LENGTH)


def kept(file: Path, key: dict, make: Callable[[], dict]) -> dict:
    """The facts that `make` returns, read from `file` if they are there under the same `key`, else written to it."""
    if file.exists() and (stored := json.loads(file.read_text()))["key"] == json.loads(json.dumps(key)):
        return stored["facts"]
    facts = make()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"key": key, "facts": facts}))
    return facts


def search(loss: Callable[[int], float], start: Iterable[int]) -> dict[int, float]:
    """The loss at every k of `start`, and on beyond its ends while the least is the last tried on its side."""
    losses = {k: loss(k) for k in start}
    while (best := min(losses, key=lambda k: losses[k])) in (min(losses), max(losses)):
        k = best + 1 if best == max(losses) else best - 1
        losses[k] = loss(k)
    return losses
