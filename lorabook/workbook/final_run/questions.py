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
