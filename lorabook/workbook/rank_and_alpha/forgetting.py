"""What fine-tuning makes a model forget: its loss on text that has nothing to do with the task.

`assets/heldout_source.txt` holds about 100 kB of Python source, `assets/heldout_text.txt` about 40 kB of English prose.
Both come from packages outside the pocket model's corpus, under their own licences, which stand at their heads.
Forgetting is what fine-tuning adds to the loss there, in nats a token.
"""

from pathlib import Path

from lorabook.data.examples import Example, tokenize
from lorabook.workbook.kit.shipped_source import ASSETS, source_files

SOURCE, TEXT = ASSETS / "heldout_source.txt", ASSETS / "heldout_text.txt"


def source_rows(tokenizer, length: int = 256, file: Path = SOURCE) -> list[Example]:
    """The files in `file` as rows of `length` tokens whose every token but the first is a label, for `answer_loss`.

    What is left of a file beyond its last whole row is left out.
    """
    rows = []
    for text in source_files(file).values():
        ids = tokenize(text, tokenizer)
        rows += [Example(tuple(ids[i : i + length]), 1, 0) for i in range(0, len(ids) - length + 1, length)]
    return rows
