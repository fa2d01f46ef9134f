"""What notebook 03 asks before it answers."""

from lorabook.workbook.kit.question import Question


def rank_64() -> Question:
    """Of LoRA with alpha = 2 r, trained at the learning rate that is best for r = 1."""
    return Question(
        "At r = 1, the loss falls from 3.09 to 2.80. Where does it end at r = 64?",
        ("at about 2.6", "at about 2.8", "above 3.09"),
        "above 3.09",
        "Far above, as you'll see.",
    )


def first_step() -> Question:
    """Of one step of Adam at two ranks, with alpha = 2 r."""
    return Question(
        "With α = 2r, how much does the first step lower the loss at r = 64, compared with r = 1?",
        ("just as much", "8 times as much", "60 times as much"),
        "60 times as much",
        "The drop grows almost in proportion to the rank.",
    )
