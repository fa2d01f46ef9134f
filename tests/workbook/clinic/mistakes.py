"""Wrong answers to the exercises of notebook 08, as people write them."""

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# label_fault


@wrong("label_fault", "if both checks pass")
def nothing_returned(labels, end):
    for row in labels:
        kept = row[row != -100]
        if not len(kept):
            return "no labels"
    if any(row[row != -100][-1] != end for row in labels):
        return "no end token"


@wrong("label_fault", "last column is padding")
def last_column(labels, end):
    if (labels == -100).all(dim=1).any():
        return "no labels"
    return "nothing" if (labels[:, -1] == end).all() else "no end token"


@wrong("label_fault", "end token in the whole batch")
def end_anywhere(labels, end):
    if (labels == -100).all(dim=1).any():
        return "no labels"
    return "nothing" if end in labels else "no end token"


@wrong("label_fault", "somewhere in an example is not enough")
def end_in_each_row(labels, end):
    for row in labels:
        if (row == -100).all():
            return "no labels"
    return "nothing" if all(end in row for row in labels) else "no end token"


@wrong("label_fault", "for a label in the whole batch")
def labels_anywhere(labels, end):
    if (labels == -100).all():
        return "no labels"
    for row in labels:
        kept = row[row != -100]
        if len(kept) and kept[-1] != end:
            return "no end token"
    return "nothing"


@wrong("label_fault", "Look at all examples before")
def first_fault_met(labels, end):
    for row in labels:
        kept = [label for label in row.tolist() if label != -100]
        if not kept:
            return "no labels"
        if kept[-1] != end:
            return "no end token"
    return "nothing"


@wrong("label_fault", "has no last label")
def last_of_none(labels, end):
    for row in labels:
        if row[row != -100][-1] != end:
            return "no end token"
    return "nothing"


# prompt_difference


def trained_on(example):
    """What an example was trained to continue."""
    found = []
    for token, label in zip(example["input_ids"], example["labels"]):
        if label != -100:
            return found
        found.append(token)
    return found


@wrong("prompt_difference", "the answer is None")
def same_or_not(example, prompt_ids):
    return trained_on(example) == prompt_ids


@wrong("prompt_difference", "the answer is None")
def minus_one(example, prompt_ids):
    prompt = trained_on(example)
    longer = max(len(prompt), len(prompt_ids))
    for position in range(longer):
        if prompt[position : position + 1] != prompt_ids[position : position + 1]:
            return position
    return -1


@wrong("prompt_difference", "with the whole example")
def whole_example(example, prompt_ids):
    for position, token in enumerate(example["input_ids"]):
        if position == len(prompt_ids) or token != prompt_ids[position]:
            return position
    return None


@wrong("prompt_difference", "positions from 0")
def from_one(example, prompt_ids):
    prompt = trained_on(example)
    for number, (token, other) in enumerate(zip(prompt, prompt_ids), start=1):
        if token != other:
            return number
    return None if len(prompt) == len(prompt_ids) else min(len(prompt), len(prompt_ids)) + 1


@wrong("prompt_difference", "the first position")
def last_found(example, prompt_ids):
    prompt, found = trained_on(example), None
    for position in range(min(len(prompt), len(prompt_ids))):
        if prompt[position] != prompt_ids[position]:
            found = position
    return min(len(prompt), len(prompt_ids)) if found is None and len(prompt) != len(prompt_ids) else found


@wrong("prompt_difference", "zip stops")
def zip_alone(example, prompt_ids):
    for position, (token, other) in enumerate(zip(trained_on(example), prompt_ids)):
        if token != other:
            return position


@wrong("prompt_difference", "before the lengths")
def lengths_at_once(example, prompt_ids):
    prompt = trained_on(example)
    if len(prompt) > len(prompt_ids):
        return len(prompt_ids)
    if len(prompt) < len(prompt_ids):
        return len(prompt)
    return next((i for i in range(len(prompt)) if prompt[i] != prompt_ids[i]), None)


@wrong("prompt_difference", "padding is masked")
def count_of_masked(example, prompt_ids):
    prompt = example["input_ids"][: example["labels"].count(-100)]
    for position, (token, other) in enumerate(zip(prompt, prompt_ids)):
        if token != other:
            return position
    return None if len(prompt) == len(prompt_ids) else min(len(prompt), len(prompt_ids))


@wrong("prompt_difference", "is all prompt")
def up_to_the_answer(example, prompt_ids):
    start = [label != -100 for label in example["labels"]].index(True)
    prompt = example["input_ids"][:start]
    for position, (token, other) in enumerate(zip(prompt, prompt_ids)):
        if token != other:
            return position
    return None if start == len(prompt_ids) else min(start, len(prompt_ids))
