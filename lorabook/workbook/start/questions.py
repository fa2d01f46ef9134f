"""What notebook 00 asks before it answers."""

from lorabook.workbook.kit.question import Question


def lora_parameters() -> Question:
    """Of the matrix that the Start explorer shows first."""
    return Question(
        "In StarCoderBase-1B, one W0 is 2304 × 2048: 4.7 million parameters. How many do A and B have at rank 16?",
        ("about 7 thousand", "about 70 thousand", "about 700 thousand", "about 4.7 million"),
        "about 70 thousand",
        "A has 16 × 2048 and B 2304 × 16: together 69,632, or 1.5% of W0.",
    )
