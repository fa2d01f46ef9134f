"""What notebook 03 asks before it answers."""

from lorabook.workbook.kit.question import Question


def twice_alpha() -> Question:
    """Of memory."""
    return Question(
        "You double α. By how much does the peak memory of a training step grow?",
        ("not at all", "about 40 MiB", "about 150 MiB", "it doubles"),
        "not at all",
        "α is one number in one multiplication. No tensor depends on it.",
    )


def best_rate() -> Question:
    """Of LoRA with α = 32 beside full fine-tuning."""
    return Question(
        "Full fine-tuning does best at a learning rate of about 0.001. What will LoRA with α = 32 need?",
        ("a quarter of that", "the same", "4 to 8 times that", "50 times that"),
        "4 to 8 times that",
        "0.004 for ranks 1 and 4, 0.008 for ranks 16 and 64.",
    )


def best_layers() -> Question:
    """Of a budget of parameters."""
    return Question(
        "Which of these recovers most on the pocket model?",
        ("attention", "MLP", "all linear layers"),
        "MLP",
        "All linear layers come second.",
    )
