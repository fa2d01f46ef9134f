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
        ("the learning rate is too high", "A and B are frozen", "the loss ignores every token"),
        "the loss ignores every token",
        "The learning rate can't affect the first loss, and freezing A and B can't make it NaN.",
    )


def never_stops() -> Question:
    return Question(
        CAUSE,
        ("there were too few steps", "the end tokens are masked", "the questions aren't masked"),
        "the end tokens are masked",
        "After too few steps, the loss would be higher. With unmasked questions, too: nobody can predict a question.",
    )


def worse_in_use() -> Question:
    return Question(
        "Why are the answers empty?",
        ("the adapter isn't used", "the prompts aren't the same", "the answers are cut off too early"),
        "the prompts aren't the same",
        "It's the same model with the same adapter, and a limit on the length would leave a few words.",
    )


def prompt_change() -> Question:
    return Question(
        "Which change to the prompt does the most damage?",
        (
            "“Please answer.” at its start",
            "no colon after “Question”",
            "“Reply” for “Answer”",
            "no colon after “Answer”",
        ),
        "no colon after “Answer”",
        "It changes the last token of the prompt, right where the answer starts.",
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
            "nothing was saved",
            "the names don't match",
            "only A was loaded",
        ),
        "the names don't match",
        "A and B were saved, but under other names, so neither was loaded.",
    )


def only_training_falls() -> Question:
    return Question(
        "What is wrong with these examples?",
        ("there are too few", "their labels are wrong", "their questions aren't masked"),
        "there are too few",
        "With wrong labels, the held-out loss would rise from the start. With unmasked questions, it would still drop.",
    )


def worse_after_merging() -> Question:
    return Question(
        "What did the application do?",
        ("it rounded the weights", "it added the update again", "it left out the update"),
        "it added the update again",
        "Without the update, the answers would look like the base model's. Rounding would leave a small error.",
    )
