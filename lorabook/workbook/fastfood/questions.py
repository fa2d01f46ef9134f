"""What notebook 06 asks before it answers."""

from lorabook.workbook.kit.question import Question


def pi_and_g_off() -> Question:
    """Of the spike, with nothing between the two H."""
    return Question(
        "Switch Π and G off, leaving nothing between the two Hs. What becomes of the spike?",
        ("it is spread over all 64 positions", "it comes back, 64 times as large", "everything becomes zero"),
        "it comes back, 64 times as large",
        "H H = 64 times the identity.",
    )


def fewer_operations() -> Question:
    """Of the fast transform beside the matrix, for the pocket model."""
    return Question(
        "n = 4,194,304. How many times fewer operations does n log2(n) take than n²?",
        ("about 20", "about 2,000", "about 190,000", "about 4 million"),
        "about 190,000",
        "n / log2(n) = 4,194,304 / 22.",
    )


def wrong_by() -> Question:
    """Of a backward pass that divides by the root of n in both transforms."""
    return Question(
        "Each of the two transforms divides its gradient by √64. By what factor is the gradient of θ_d too small?",
        ("8", "64", "4,096"),
        "64",
        "√64 · √64.",
    )
