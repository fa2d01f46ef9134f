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


def step_at_64() -> Question:
    """Of LoRA whose scaling does not depend on r."""
    return Question(
        "With a scaling of 1, a step at r = 1 lowers the loss a little. How much more does a step at r = 64 lower it?",
        ("about as much", "2 times as much", "8 times as much", "60 times as much"),
        "60 times as much",
        "Nearly 64 times.",
    )


def best_layers() -> Question:
    """Of a budget of parameters."""
    return Question(
        "Which of these recovers most on the pocket model?",
        ("attention", "MLP", "all linear layers"),
        "MLP",
        "All linear layers come second.",
    )
