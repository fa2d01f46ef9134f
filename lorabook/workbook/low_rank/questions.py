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


def two_runs() -> Question:
    """Of two LoRA runs that differ in the random start of A."""
    return Question(
        "What is the cosine between the new update and the old one?",
        ("about 0.1", "about 0.4", "about 0.7", "above 0.9"),
        "about 0.1",
        "They have little in common, and yet the new one lowers the loss as far.",
    )
