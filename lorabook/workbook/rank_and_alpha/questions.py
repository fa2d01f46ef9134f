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


def shifted_valley() -> Question:
    """Of three configurations whose losses are drawn over the learning rate."""
    return Question(
        "On the left sides of the valleys, which of these is about the same for all three at the same loss?",
        ("r × learning rate", "α × learning rate", "α/r × learning rate"),
        "α × learning rate",
        "Large's α is four times the others', and it gets there with a quarter of the learning rate.",
    )


def best_layers() -> Question:
    """Of a budget of parameters."""
    return Question(
        "Which of these recovers most on the pocket model?",
        ("attention", "MLP", "all linear layers"),
        "MLP",
        "All linear layers come second.",
    )
