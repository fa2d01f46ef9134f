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


def random_part() -> Question:
    """Of a part of ΔW that was chosen by chance."""
    return Question(
        "The first 4 terms hold 26% of the energy and recover 72%. Keep a random 26% of ΔW's entries instead, and set "
        "the others to zero. How much comes back?",
        ("about 5%", "about 25%", "about 50%", "about 70%"),
        "about 50%",
        "You'll see why in a moment.",
    )
