"""A training example as text, its answer coloured."""

from lorabook.data.examples import Example

# bold, and a blue that a light page and a dark one leave legible: the palette's own is too dark for the second
ANSWER_COLOUR, RESET = "\x1b[1;38;2;20;128;205m", "\x1b[0m"


def coloured(example: Example, tokenizer) -> str:
    """Plain text with terminal colours: the question plain, the answer, which carries the labels, bold blue.

    It is text, not HTML: whatever a post contains is shown and never rendered.
    """
    question = tokenizer.decode(example.input_ids[: example.answer_start])
    answer = tokenizer.decode(example.input_ids[example.answer_start :])
    return f"{question}{ANSWER_COLOUR}{answer}{RESET}"
