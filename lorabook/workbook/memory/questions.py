"""What notebook 02 asks before it answers."""

from lorabook.workbook.kit.question import Question


def full_finetuning() -> Question:
    """Of StarCoderBase-1B with AdamW, before activations."""
    return Question(
        "In 16 bits, StarCoderBase-1B's weights take 2.1 GiB. How much do weights, gradients and moments take "
        "together, in full fine-tuning?",
        ("about 4 GiB", "about 8 GiB", "about 17 GiB"),
        "about 17 GiB",
        "16 bytes per parameter instead of 2.",
    )


def kept_activations() -> Question:
    """Of a block with LoRA beside full fine-tuning's."""
    return Question(
        "Freeze a block and put LoRA on its linear layers. What share of full fine-tuning's activations does it keep?",
        ("about 1%", "about half", "all of them"),
        "all of them",
        "And a few more. A needs the layer's input for its own gradient, as W0 would.",
    )
