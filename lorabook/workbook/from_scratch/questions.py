"""What notebook 01 asks before it answers."""

from lorabook.workbook.kit.question import Question


def after_training() -> Question:
    """Of the 60 steps that follow."""
    return Question(
        "A and B add 1.5% to the parameters. How many functions will open with a docstring after 60 steps?",
        ("hardly more than before", "about half", "most of them"),
        "most of them",
        "A habit is easy to learn. What a docstring should say is not.",
    )


def beyond_training() -> Question:
    """Of strength 4."""
    return Question(
        "At strength 4, the update is four times as large as it was in training. What will the model write?",
        ("hardly any docstrings", "docstrings in half the functions", "docstrings in nearly all functions"),
        "hardly any docstrings",
        "It hardly writes Python any more.",
    )
