"""What notebook 08 asks about its cases."""

from lorabook.workbook.kit.question import Question

CAUSE = "What is the cause?"


def nan_loss() -> Question:
    return Question(
        "Which part of the first training step breaks the model?",
        ("the forward pass", "the backward pass", "the optimizer step"),
        "the optimizer step",
        "The forward pass gave a finite loss, and the backward pass a finite grad_norm.",
    )


def one_setting() -> Question:
    return Question(
        "Which setting do both runs change?",
        ("the number of steps", "the learning rate", "the collator"),
        "the learning rate",
        "Steps that are too large make the loss jump, and steps that are too small leave it where it is.",
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
        ("too few steps", "the limit of 16 tokens is too low", "the end token is never a label"),
        "the end token is never a label",
        "The healthy run took as many steps, and its answers fit into 16 tokens.",
    )


def worse_in_use() -> Question:
    return Question(
        "How does the application's prompt differ from the one in training?",
        ("not at all", "it ends with a line break", "it lacks the word Answer"),
        "it ends with a line break",
        "The file ends with a line break, which print doesn't show. In training, the space belongs to the answer.",
    )


def no_gradient() -> Question:
    return Question(
        "Which inputs is the warning about?",
        ("the token ids", "the input of the first block", "A and B"),
        "the input of the first block",
        "Token ids never require a gradient, and A and B are parameters.",
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
        ("the learning rate is too high", "there are too few examples", "the labels are wrong"),
        "there are too few examples",
        "The training loss goes to zero, so the steps aren't too large. With wrong labels, 5 steps wouldn't help.",
    )


def worse_after_merging() -> Question:
    return Question(
        "What did the application do?",
        ("it rounded the weights", "it added the update again", "it loaded another adapter"),
        "it added the update again",
        "Rounding does little harm, and the adapter is the right one. But the merged weights already contain it.",
    )
