"""What notebook 07 asks before it answers."""

from lorabook.workbook.kit.question import Question


def times_less_disk() -> Question:
    """Of a hundred tasks of StarCoderBase-1B."""
    return Question(
        "Store one copy of the model and 100 adapters instead of 100 copies. By what factor does disk use shrink?",
        ("about 3", "about 35", "about 100", "about 1,000"),
        "about 35",
        "The base is still there once, and a hundred adapters weigh about twice as much as it.",
    )


def other_habits() -> Question:
    """Of what the docstrings adapter does to another habit."""
    return Question(
        "The base puts type hints on 21% of its arguments. What does the docstrings adapter do to them?",
        ("more hints", "about as many", "hardly any hints"),
        "hardly any hints",
        "Its training data has none.",
    )


def minus_plain() -> Question:
    """Of what subtracting the control does to docstrings."""
    return Question(
        "You subtract plain from docstrings + camelCase. What happens to the docstrings?",
        ("fewer", "about as many", "more"),
        "more",
        "Plain learned to leave docstrings out, and subtracting it takes that away.",
    )
