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


def new_commands() -> Question:
    """Of the pocket model, trained on 77 questions about an invented tool."""
    return Question(
        "How many of the 19 held-out questions does it answer exactly right?",
        ("none", "about half", "all"),
        "all",
        "Every verb and every object is in other examples.",
    )
