"""What notebook 04 asks before it answers."""

from lorabook.workbook.kit.question import Question


def rank_of_the_change() -> Question:
    """Of ΔW of a matrix that can have rank 256."""
    return Question(
        "A ΔW of 320 × 256 can have any rank up to 256. What is its rank after 24 steps?",
        ("about 10", "about 24, one per step", "about 100", "about 256"),
        "about 256",
        'Adam moves nearly every entry in every step, and nothing in that keeps the rank low. See "Going deeper".',
    )


def half_of_the_update() -> Question:
    """Of the control that has the energy of the first terms of ΔW."""
    return Question(
        "The first 4 terms have 26% of the energy and recover 72%. Half of ΔW has 25%. What does 0.5 ΔW recover?",
        ("about 25%", "about 50%", "about 70%", "about 80%"),
        "about 80%",
        "The loss falls fastest at the start.",
    )
