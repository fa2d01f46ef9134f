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
        "Where is the bug?",
        ("the end token is missing", "the template is never found", "the question isn't masked"),
        "the template is never found",
        "If it were found, there would be labels, and the loss would be a number. Why isn't it found?",
    )


def never_stops() -> Question:
    return Question(
        "What does collate_and_mask mask that collate doesn't?",
        ("nothing", "the questions", "the end token of each answer"),
        "the end token of each answer",
        "It is the padding token, too. The questions are masked in both.",
    )


def worse_in_use() -> Question:
    return Question(
        "How does the application's prompt differ from the one in training?",
        ("not at all", "it ends with a line break", "it lacks the word Answer"),
        "it ends with a line break",
        "The file ends with a line break, which print doesn't show. In training, the space belongs to the answer.",
    )


def prompt_change() -> Question:
    return Question(
        "Which change to the prompt does the most damage?",
        (
            "Please answer. Question: … Answer:",
            "no colon after Question",
            "Reply instead of Answer",
            "no colon after Answer",
        ),
        "no colon after Answer",
        "It changes the end of the prompt, where the model has to start writing.",
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
        "How does this model answer the held-out questions?",
        ("with words from its own examples", "with functions that Python doesn't have", "with nonsense"),
        "with words from its own examples",
        "Its training loss is zero: it knows a few answers by heart.",
    )


def worse_after_merging() -> Question:
    return Question(
        "Which weights does the application compute with?",
        ("W0", "W0 + update", "W0 + 2 × update"),
        "W0 + 2 × update",
        "The merged weights are W0 + update, and the application's LoRA layers add the update again.",
    )
