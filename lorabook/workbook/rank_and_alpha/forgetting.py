"""What fine-tuning makes a model forget: its loss on Python source that it did well on before.

`assets/heldout_source.txt` holds about 100 kB of Python source from packages outside the pocket model's corpus, under
their own licences, which stand at its head. Forgetting is what fine-tuning adds to the loss there, in nats a token.
"""

from lorabook.data.examples import Example, tokenize
from lorabook.workbook.kit.shipped_source import ASSETS, source_files

SOURCE = ASSETS / "heldout_source.txt"


def source_rows(tokenizer, length: int = 256) -> list[Example]:
    """The files as rows of `length` tokens whose every token but the first is a label, for `evaluate.answer_loss`.

    What is left of a file beyond its last whole row is left out.
    """
    rows = []
    for text in source_files(SOURCE).values():
        ids = tokenize(text, tokenizer)
        rows += [Example(tuple(ids[i : i + length]), 1, 0) for i in range(0, len(ids) - length + 1, length)]
    return rows
