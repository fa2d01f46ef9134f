"""What notebook 07 asks before it answers."""

from lorabook.workbook.kit.question import Question


def times_less_disk() -> Question:
    """Of a hundred tasks of StarCoderBase-1B."""
    return Question(
        "Store one copy of the 1B model (fp16) and 100 adapters (r = 16, fp32) instead of 100 copies. By what factor "
        "does disk use shrink?",
        ("about 3", "about 35", "about 100", "about 1,000"),
        "about 35",
        "The base is still there once, and a hundred adapters weigh about twice as much as it.",
    )


def other_habits() -> Question:
    """Of an adapter for one habit on the others."""
    return Question(
        "How does the docstrings adapter affect the other three habits?",
        ("it raises all three", "it raises one of them", "it raises none"),
        "it raises none",
        "It learns everything about its data, and its data has no other habit in it.",
    )
