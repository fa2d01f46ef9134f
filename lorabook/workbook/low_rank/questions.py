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


def other_terms() -> Question:
    """Of the control that leaves the first terms of ΔW out."""
    return Question(
        "The first 4 terms recover 77%. How much do the other 252 terms recover on their own?",
        ("about 10%", "about 30%", "about 70%", "about 95%"),
        "about 70%",
        "Nearly as much as the first four.",
    )


def distance_of_two_runs() -> Question:
    """Of two full fine-tunes that differ in their seed."""
    return Question(
        "We repeat full fine-tuning with another seed. How far is the new ΔW from the old one?",
        ("about 0.1", "about 0.5", "about 1.1"),
        "about 1.1",
        "That's farther than no update at all, and yet it lowers the loss as far.",
    )
