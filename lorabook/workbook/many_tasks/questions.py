"""What notebook 07 asks before it answers."""

from lorabook.workbook.kit.question import Question


def times_less_disk() -> Question:
    """Of a hundred tasks of StarCoderBase-1B."""
    return Question(
        "A hundred copies of the 1B model in fp16, or one copy and 100 adapters (r = 16, fp32): how much less disk?",
        ("about 3 times", "about 35 times", "about 100 times", "about 1,000 times"),
        "about 35 times",
        "The base is still there once, and a hundred adapters weigh about twice as much as it.",
    )


def other_habits() -> Question:
    """Of an adapter for one habit on the others."""
    return Question(
        "The adapter for docstrings: what does it do to the other three habits?",
        ("it raises them a little", "almost nothing, or it lowers them", "it raises one of them a lot"),
        "almost nothing, or it lowers them",
        "An adapter pushes everything towards its own task, and away from what it did not see.",
    )
