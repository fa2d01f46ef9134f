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
