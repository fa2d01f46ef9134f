"""What notebook 08 asks: the cause of each case."""

from lorabook.workbook.kit.question import Question

CAUSE = "What is the cause?"


def nan_loss() -> Question:
    return Question(
        "Which part of the first training step breaks the model?",
        ("the forward pass", "the backward pass", "the optimizer step"),
        "the optimizer step",
        "The forward pass gave a finite loss, and the backward pass a finite grad_norm.",
    )


def loss_jumps() -> Question:
    return Question(
        "What is the cause in case 9?",
        ("the labels are wrong", "each step is too large", "no gradient arrives"),
        "each step is too large",
        "With wrong labels, the loss would be high from the start. Without a gradient, it wouldn't move.",
    )


def loss_flat() -> Question:
    return Question(
        "What is the cause in case 10?",
        ("no gradient arrives", "all labels are masked", "the learning rate is too low", "the rank is too low"),
        "the learning rate is too low",
        "A gradient arrives, so there are labels. A low rank would still learn something.",
    )


def loss_zero() -> Question:
    return Question(
        CAUSE,
        ("the learning rate is too high", "A and B are frozen", "all labels are masked"),
        "all labels are masked",
        "The learning rate can't affect the first loss. With A and B frozen, the loss would be a number.",
    )


def never_stops() -> Question:
    return Question(
        CAUSE,
        ("the end token is never a label", "the model is too small", "sampling is too random"),
        "the end token is never a label",
        "A model stops by writing its end token. It has to be trained to do so.",
    )


def worse_in_use() -> Question:
    return Question(
        CAUSE,
        ("overfitting", "the adapter was not loaded", "the prompt differs from the one in training"),
        "the prompt differs from the one in training",
        "An overfitted model, or one without its adapter, would be wrong in both places.",
    )


def no_gradient() -> Question:
    return Question(
        CAUSE,
        ("A and B are frozen", "a checkpointed block's input requires no gradient", "there are no labels"),
        "a checkpointed block's input requires no gradient",
        "With A and B frozen, there would be no warning. Without labels, the loss would be NaN, without an error.",
    )


def loads_but_nothing() -> Question:
    return Question(
        CAUSE,
        (
            "the saved names do not match",
            "the adapter was trained for too few steps",
            "the adapter is on another base",
        ),
        "the saved names do not match",
        "Too few steps, or another base, would still change the loss.",
    )


def only_training_falls() -> Question:
    return Question(
        CAUSE,
        ("too few examples, seen too often", "the learning rate is too high", "the rank is too low"),
        "too few examples, seen too often",
        "It learns its examples by heart, and predicts others worse. The other two would keep the training loss up.",
    )


def worse_after_merging() -> Question:
    return Question(
        "How many times does the application's model contain the update?",
        ("not at all", "once", "twice"),
        "twice",
        "It is in the merged weights, and once more in the LoRA layers that the application adds.",
    )
