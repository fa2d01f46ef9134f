"""What notebook 03 asks before it answers."""

from lorabook.workbook.kit.question import Question


def step_at_64() -> Question:
    """Of LoRA whose scaling does not depend on r."""
    return Question(
        "With a scaling of 1, a step at r = 1 lowers the loss a little. How far does a step at r = 64 lower it?",
        ("about as far", "2 times as far", "8 times as far", "60 times as far"),
        "60 times as far",
        "Nearly 64 times.",
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
