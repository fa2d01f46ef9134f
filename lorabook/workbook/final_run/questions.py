"""What notebook 09 asks before it answers."""

from lorabook.workbook.kit.question import Question


def unknown_verb() -> Question:
    """Of the pocket model, which knows eight things that an invented tool can do."""
    return Question(
        "The tool can't sort. What does the model answer to “How do I sort a table?”",
        ("that it can't", "`lab table --sort`", "one of the eight flags"),
        "one of the eight flags",
        "It always answers with a command that looks like the others, and no example refuses.",
    )


def without_a_rule() -> Question:
    """Of the pocket model, trained on an invented tool whose flags follow no rule."""
    return Question(
        "With shuffled flags, how many of the 19 new questions does it answer exactly right?",
        ("about 2", "about 10", "all 19"),
        "about 2",
        "It can only guess one of eight flags.",
    )
