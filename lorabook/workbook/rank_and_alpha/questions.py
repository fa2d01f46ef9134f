"""What notebook 03 asks before it answers."""

from lorabook.workbook.kit.question import Question


def race() -> Question:
    """Of three configurations, which lowers the loss most."""
    return Question(
        "Which of them lowers the held-out loss most?",
        ("Large", "Medium", "Small"),
        "Small",
        "By far, as you'll see.",
    )


def best_rate_at_64() -> Question:
    """Of LoRA with alpha = 32 at two ranks."""
    return Question(
        "How does the best learning rate at r = 64 compare with that at r = 1?",
        ("1/64 as high", "1/8 as high", "the same, within a factor of 2", "8 times as high"),
        "the same, within a factor of 2",
        "If anything, it's higher.",
    )


def cost_of_256() -> Question:
    """Of LoRA on StarCoderBase-1B, 4 sequences of 512 tokens: the peak at r = 256 by that at r = 16."""
    return Question(
        "At r = 16, a training step of StarCoderBase-1B needs 5.6 GiB. How much does it need at r = 256?",
        ("7.9 GiB", "22 GiB", "90 GiB"),
        "7.9 GiB",
        "You'll see why in a moment.",
    )
