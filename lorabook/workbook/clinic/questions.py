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
        "Which labels does this run lose?",
        ("those of the question", "those of the last words", "the end tokens"),
        "the end tokens",
        "The padding token is the end token, too. The question's labels are masked in the healthy run as well.",
    )


def worse_in_use() -> Question:
    return Question(
        "How does the application's prompt differ from the one in training?",
        ("not at all", "it ends with a line break", "it lacks the space before the answer"),
        "it ends with a line break",
        "The closing quotes are on a line of their own. The space belongs to the answer in both.",
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
        "What will this model answer to a new question?",
        ("the right answer", "an answer of its own", "one of the answers that it was trained on"),
        "one of the answers that it was trained on",
        "It has seen four examples, again and again, and knows them by heart.",
    )


def worse_after_merging() -> Question:
    return Question(
        CAUSE,
        ("merging rounds the weights", "the update is in the model twice", "the update was merged without α/r"),
        "the update is in the model twice",
        "It is in the merged weights, and once more in the LoRA layers that the application adds.",
    )
