"""Which tokens of source code stand on lines of docstrings."""

import torch
from transformers import PreTrainedTokenizerBase


def on_docstring_lines(ids: torch.Tensor, tokenizer: PreTrainedTokenizerBase) -> torch.Tensor:
    """For every token, whether its line contains triple quotes.

    Args:
        ids: (B, S), of B pieces of source code. Lines are those of a piece: its first and last may be cut.

    Returns:
        (B, S), booleans.
    """
    return torch.tensor([_of_one(piece, tokenizer) for piece in ids.tolist()])


def _of_one(ids: list[int], tokenizer: PreTrainedTokenizerBase) -> list[bool]:
    mask: list[bool] = []
    line: list[int] = []
    for token in ids:
        line.append(token)
        if "\n" in tokenizer.decode([token]):
            mask += ['"""' in tokenizer.decode(line)] * len(line)
            line = []
    return mask + ['"""' in tokenizer.decode(line)] * len(line)
