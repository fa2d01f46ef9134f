"""What notebook 04 asks before it answers."""

from lorabook.workbook.kit.question import Question


def the_rest() -> Question:
    """Of all terms of ΔW but the first four."""
    return Question(
        "The first four terms recover 77%. How much do the other 252 recover without them?",
        ("about 0%", "about 25%", "about 45%", "about 70%"),
        "about 70%",
        "Together with the 77%, that's far more than 100%.",
    )


def trained_at_rank_4() -> Question:
    """Of LoRA, beside the first four terms of ΔW."""
    return Question(
        "ΔW's first four terms recover 77%. How much does LoRA recover, trained at rank 4?",
        ("about 50%", "about 77%", "about 90%"),
        "about 90%",
        "At the same rank, training finds a better update than cutting ΔW.",
    )
