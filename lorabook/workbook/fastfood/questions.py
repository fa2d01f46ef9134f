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
    """Of two fast transforms beside a dense P with d = 1,000, for the pocket model."""
    return Question(
        "Each H takes n log2(n) additions, with n = 4,194,304. How many times fewer operations do two Hs take?",
        ("about 4", "about 40", "about 4,000", "about 190,000"),
        "about 40",
        "Two Hs take 2 · 4,194,304 · 22 = 185 million.",
    )
