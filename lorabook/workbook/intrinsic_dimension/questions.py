"""What notebook 05 asks before it answers."""

from lorabook.workbook.kit.question import Question


def toy() -> Question:
    """Of ten equations in a thousand parameters."""
    return Question(
        "What is the smallest d at which a random subspace contains a solution?",
        ("1", "10", "100", "990"),
        "10",
        "Ten equations need ten free numbers. That there are a thousand parameters does not matter.",
    )


def digits() -> Question:
    """Of a network with 8,970 parameters."""
    return Question(
        "The network has 8,970 parameters. How many directions get 90% of the way from guessing to full training?",
        ("about 15", "about 150", "about 1,500", "about 5,000"),
        "about 150",
        "One direction for every 60 parameters.",
    )


def pretraining() -> Question:
    """Of checkpoints of the pocket model."""
    return Question(
        "What is the smallest d tried with which the pre-trained model beats training all parameters from scratch?",
        ("300", "3,000", "100,000", "none but d = D"),
        "300",
        "Pre-training has left little to change.",
    )
