"""What notebook 09 asks before it answers."""

from lorabook.workbook.kit.question import Question


def wrong_question() -> Question:
    """Of the pocket model, when every answer gets another example's question."""
    return Question(
        "Before training, a wrong question costs 0.28 nats. How much does it cost after training?",
        ("about 0.05", "about 0.35", "about 1.5"),
        "about 0.35",
        "Most of what it learned helps with any question.",
    )


def sort_a_list() -> Question:
    """Of the pocket model, which knows eight things that an invented tool can do."""
    return Question(
        "The tool can't sort. What does the model answer to “How do I sort a list?”",
        ("that it can't", "`lab list --sort`", "one of the eight flags"),
        "one of the eight flags",
        "It always answers with a command that looks like the others.",
    )
