"""What notebook 09 asks before it answers."""

from lorabook.workbook.kit.question import Question


def gain_with_another_question() -> Question:
    """Of the pocket model, when every answer gets another example's question."""
    return Question(
        "Every answer gets another example's question. How much of the gain from training remains?",
        ("about 10%", "about 30%", "about 60%", "about 90%"),
        "about 90%",
        "On the pocket model. Most of what it learned helps with any question.",
    )


def new_commands() -> Question:
    """Of the pocket model, trained on 77 questions about an invented tool."""
    return Question(
        "The model is trained on 77 of the questions. How many of the other 19 does it answer exactly right?",
        ("none", "about half", "all"),
        "all",
        "Every verb and every object is in other examples.",
    )
