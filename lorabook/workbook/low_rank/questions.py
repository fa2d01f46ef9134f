"""What notebook 04 asks before it answers."""

from lorabook.workbook.kit.question import Question


def rank_of_the_change() -> Question:
    """Of ΔW of a matrix that can have rank 256."""
    return Question(
        "A ΔW of 1,024 × 256 can have any rank up to 256. What is its rank after 24 steps?",
        ("about 10", "about 24, one per step", "about 100", "about 256"),
        "about 256",
        "Does that mean that the model needed all of it? We'll see.",
    )


def two_runs() -> Question:
    """Of two full fine-tunes that differ in their seed."""
    return Question(
        "We repeat full fine-tuning with another seed. What is the cosine between the new ΔW and the old one?",
        ("about 0", "about 0.4", "about 0.7", "above 0.9"),
        "about 0.4",
        "They have something in common, but not much, and yet the new one lowers the loss as far.",
    )
