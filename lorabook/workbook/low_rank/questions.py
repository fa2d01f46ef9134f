"""What notebook 04 asks before it answers."""

from lorabook.workbook.kit.question import Question


def rank_of_the_change() -> Question:
    """Of ΔW of a matrix that can have rank 256."""
    return Question(
        "A ΔW of 320 × 256 can have any rank up to 256. Which rank does it have after 24 steps?",
        ("about 10", "about 24, one per step", "about 100", "about 256"),
        "about 256",
        'Adam moves nearly every entry in every step, and nothing in that keeps the rank low. See "Going deeper".',
    )


def which_recovers_most() -> Question:
    """Of three updates that have the same energy."""
    return Question(
        "Three updates with 26% of the energy of ΔW. Which recovers most?",
        ("the first 4 terms", "random entries", "ΔW shrunk"),
        "ΔW shrunk",
        "By about ten points. The next section shows why.",
    )
