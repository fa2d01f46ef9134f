"""What notebook 02 asks before it answers."""

from lorabook.workbook.kit.question import Question


def four_tensors() -> Question:
    """Of all parameters of StarCoderBase-1B under AdamW."""
    return Question(
        "StarCoderBase-1B has 1.14 billion parameters. How much memory do all weights, gradients and moments take?",
        ("2.1 GiB", "4.2 GiB", "8.5 GiB", "17 GiB"),
        "17 GiB",
        "16 bytes × 1.137 billion parameters, and no token has gone through the model yet.",
    )


def kept_activations() -> Question:
    """Of a block with LoRA beside full fine-tuning's."""
    return Question(
        "Freeze a block and put LoRA on its linear layers. How much of full fine-tuning's activations does it keep?",
        ("about 1%", "about half", "all of them"),
        "all of them",
        "And a few more. A needs the layer's input for its own gradient, as W0 would.",
    )
