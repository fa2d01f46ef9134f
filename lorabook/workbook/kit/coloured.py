"""A training example as text, its answer coloured."""

from lorabook.data.examples import Example

ANSWER_COLOUR, RESET = "\x1b[1;34m", "\x1b[0m"  # a terminal's grey cannot be read on a dark page


def coloured(example: Example, tokenizer) -> str:
    """Plain text with terminal colours: the question plain, the answer, which carries the labels, bold blue.

    It is text, not HTML: whatever a post contains is shown and never rendered.
    """
    question = tokenizer.decode(example.input_ids[: example.answer_start])
    answer = tokenizer.decode(example.input_ids[example.answer_start :])
    return f"{question}{ANSWER_COLOUR}{answer}{RESET}"
