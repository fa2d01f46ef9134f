"""What notebook 00 asks before it answers."""

from lorabook.workbook.kit.question import Question


def lora_parameters() -> Question:
    """Of the matrix that the Start explorer shows first."""
    return Question(
        "W0 is 2304 × 2048, about 4.7 million parameters. How many do A and B have together at rank 16?",
        ("about 70 thousand", "about 300 thousand", "about 1 million", "about 4.7 million"),
        "about 70 thousand",
        "A has 16 × 2048 and B 2304 × 16: together 69,632, or 1.5% of W0.",
    )


def trained_share() -> Question:
    """Of rank 4 on every linear layer of the pocket model."""
    return Question(
        "How many parameters is that, compared with the 3.9 million of the pocket model?",
        ("0.015%", "1.5%", "15%", "50%"),
        "1.5%",
        "58,368 new parameters, next to 3.9 million that stay frozen.",
    )


def after_removal() -> Question:
    return Question(
        "You take A and B out again. What does the model write now, with the same random seed?",
        ("the same text as at first", "a mixture of both styles", "camelCase still, but less of it"),
        "the same text as at first",
        "Training changed nothing but A and B. Without them the model is what it was, bit for bit.",
    )
