"""What fine-tuning makes a model forget: its loss on Python source that it did well on before.

`assets/heldout_source.txt` holds about 100 kB of Python source from packages outside the pocket model's corpus, under
their own licences, which stand at its head. Forgetting is what fine-tuning adds to the loss there, in nats a token.
"""

from functools import cache
from pathlib import Path

from lorabook.data.examples import Example, tokenize

SOURCE = Path(__file__).parents[2] / "assets" / "heldout_source.txt"
FILE = "==== file: "  # starts the line before each file


@cache
def source_files() -> dict[str, str]:
    """The files by name."""
    _, *parts = SOURCE.read_text(encoding="utf-8").split(f"\n{FILE}")
    return {name: text for name, _, text in (part.partition("\n") for part in parts)}


def source_rows(tokenizer, length: int = 256) -> list[Example]:
    """The files as rows of `length` tokens whose every token but the first is a label, for `evaluate.answer_loss`.

    What is left of a file beyond its last whole row is left out.
    """
    rows = []
    for text in source_files().values():
        ids = tokenize(text, tokenizer)
        rows += [Example(tuple(ids[i : i + length]), 1, 0) for i in range(0, len(ids) - length + 1, length)]
    return rows
