"""What notebook 06 asks before it answers."""

from lorabook.workbook.kit.question import Question


def pi_and_g_off() -> Question:
    """Of the spike, with nothing between the two H."""
    return Question(
        "Switch Π and G off, leaving nothing between the two Hs. What becomes of the spike?",
        ("it is spread over all 32 positions", "it comes back, 32 times as large", "everything becomes zero"),
        "it comes back, 32 times as large",
        "H H = 32 times the identity.",
    )


def wrong_gradient() -> Question:
    """Of a gradient that is too small by a constant factor."""
    return Question(
        "With the wrong H, what happens to training with Adam, and with SGD?",
        ("both fail", "both work, only slower", "Adam works as before, SGD fails", "SGD works as before, Adam fails"),
        "Adam works as before, SGD fails",
        "Adam divides each gradient by its own size. SGD multiplies it by the learning rate, and that's all.",
    )
