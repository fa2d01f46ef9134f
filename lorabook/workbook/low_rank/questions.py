"""What notebook 04 asks before it answers."""

from lorabook.workbook.kit.question import Question


def rank_of_the_change() -> Question:
    """Of ΔW of a matrix that can have rank 256."""
    return Question(
        "A ΔW of 320 × 256 can have any rank up to 256. Which rank does it have after 24 steps?",
        ("about 10", "about 24, one per step", "about 100", "about 256"),
        "about 256",
        "Adam moves nearly every entry in every step, and nothing in that keeps the rank low.",
    )


def which_recovers_more() -> Question:
    """Of two parts of ΔW that have the same energy."""
    return Question(
        "Two updates with the same energy: the first 4 terms of ΔW, and all of ΔW made smaller. Which recovers more?",
        ("the first 4 terms", "about the same", "all of it, made smaller"),
        "all of it, made smaller",
        "It goes √0.29 = 54% of the way, and most of the improvement comes early on that way.",
    )
