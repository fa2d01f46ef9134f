"""The exercises of notebook 08: two checks to write, of a batch's labels and of a prompt."""

import torch

from lorabook.workbook.kit.exercise import Exercise, Mistake, cases

# label_fault

END, M = 0, -100


def _kept(labels):
    """The labels that are not masked, of each example."""
    return [row[row != M].tolist() for row in labels]


def _fault(
    labels,
    end,
    empty=lambda labels: not all(_kept(labels)),
    cut=lambda labels, end: any(kept[-1:] != [end] for kept in _kept(labels)),
    order=("no labels", "no end token"),
    fine="nothing",
):
    """A right answer whose decisions can be changed one at a time."""
    found = {"no labels": lambda: empty(labels), "no end token": lambda: cut(labels, end)}
    return next((name for name in order if found[name]()), fine)


def _decided(**changed):
    return lambda labels, end: _fault(labels, end, **changed)


def _early(labels, end):
    """The first fault that is met, example by example."""
    return next((fault for row in labels if (fault := _fault(row[None], end)) != "nothing"), "nothing")


def _last_of_none(labels, end):
    return "nothing" if all(row[row != M][-1] == end for row in labels) else "no end token"


def _last_of_empty_list(labels, end):
    return "nothing" if all(kept[-1] == end for kept in _kept(labels)) else "no end token"


def _batch(*rows, end=END):
    return torch.tensor(rows), end


def _shown(labels, end):
    return f"for labels {labels.tolist()} and end = {end}"


LABEL_FAULT = Exercise(
    name="label_fault",
    task="What is wrong with the labels of a batch.",
    stub='''\
def label_fault(labels, end):
    """What is wrong with a batch's labels: "no labels", "no end token" or "nothing".

    labels: a tensor of ids, with a row for each example. Masked labels are −100.
    end: the id of the end token.

    "no labels": in some example, all labels are masked.
    "no end token": in some example, the last label that isn't masked is not `end`.
    If both are wrong, return "no labels".
    """
    raise NotImplementedError
''',
    hint="Go through the rows. `row[row != -100]` keeps the labels that aren't masked.",
    solution="""\
def label_fault(labels, end):
    fault = "nothing"
    for row in labels:
        kept = row[row != -100]
        if len(kept) == 0:
            return "no labels"
        if kept[-1] != end:
            fault = "no end token"
    return fault
""",
    praise="call it on the first batch of every run.",
    reference=_fault,
    probes=(
        cases(_shown, _batch([M, 5, END], [M, 7, END])),
        cases(_shown, _batch([M, 5, 6, END], [M, 7, END, M]), _batch([M, END, 3], [5, 3, M], end=3)),
        cases(_shown, _batch([M, 5, 6], [M, 7, END])),
        cases(_shown, _batch([M, END, 6], [7, END, M])),
        cases(_shown, _batch([M, M, M], [M, M, M])),
        cases(_shown, _batch([M, 5, END], [M, M, M])),
        cases(_shown, _batch([M, 5, 6], [M, M, M])),
    ),
    mistakes=(
        Mistake('if both checks pass, the answer is "nothing".', (_decided(fine=None), _decided(fine="no end token"))),
        Mistake(
            "the last column is padding where an example is short. Look at the last label that isn't masked.",
            (_decided(cut=lambda labels, end: bool((labels[:, -1] != end).any())),),
        ),
        Mistake(
            "you looked for an end token in the whole batch. Look in each example: one that was truncated has none.",
            (_decided(cut=lambda labels, end: not (labels == end).any()),),
        ),
        Mistake(
            "an end token somewhere in an example is not enough. It has to be the last label.",
            (_decided(cut=lambda labels, end: not (labels == end).any(dim=1).all()),),
        ),
        Mistake(
            "you looked for a label in the whole batch. An example without labels is wrong, even if others have some.",
            (
                _decided(
                    empty=lambda labels: not (labels != M).any(),
                    cut=lambda labels, end: any(kept and kept[-1] != end for kept in _kept(labels)),
                ),
            ),
        ),
        Mistake(
            'if both are wrong, the answer is "no labels". Look at all examples before you return "no end token".',
            (_early, _decided(order=("no end token", "no labels")), _decided(empty=lambda labels: False)),
        ),
        Mistake("an example in which all labels are masked has no last label.", (_last_of_none, _last_of_empty_list)),
    ),
)


# prompt_difference


def _trained_prompt(example):
    """The tokens before the first label that is not masked."""
    labels = example["labels"]
    start = next((i for i, label in enumerate(labels) if label != M), len(labels))
    return example["input_ids"][:start]


def _difference(example, prompt_ids, trained=_trained_prompt, pick=min, ends=True, first=0, fine=None):
    """A right answer whose decisions can be changed one at a time; ends: whether a prompt that ends early differs."""
    prompt = trained(example)
    differ = [i for i, (a, b) in enumerate(zip(prompt, prompt_ids)) if a != b]
    if ends and len(prompt) != len(prompt_ids):
        differ.append(min(len(prompt), len(prompt_ids)))
    return pick(differ) + first if differ else fine


def _differs(**changed):
    return lambda example, prompt_ids: _difference(example, prompt_ids, **changed)


def _all_masked(example):
    return [token for token, label in zip(example["input_ids"], example["labels"]) if label == M]


def _up_to_an_answer(example):
    return example["input_ids"][: [label != M for label in example["labels"]].index(True)]


def _lengths_first(example, prompt_ids):
    prompt = _trained_prompt(example)
    if len(prompt) != len(prompt_ids):
        return min(len(prompt), len(prompt_ids))
    return _difference(example, prompt_ids)


def _prompts(input_ids, labels, prompt_ids):
    return {"input_ids": input_ids, "labels": labels}, prompt_ids


def _seen(example, prompt_ids):
    return f"for example = {example} and prompt_ids = {prompt_ids}"


PROMPT_DIFFERENCE = Exercise(
    name="prompt_difference",
    task="Where a prompt differs from an example's.",
    stub='''\
def prompt_difference(example, prompt_ids):
    """The first position where a prompt differs from a training example's prompt.

    example: a dictionary with the lists "input_ids" and "labels", as from `task.encode`.
        Its prompt is everything before the first label that isn't masked (−100).
    prompt_ids: the other prompt, a list of token ids.

    If one prompt is the beginning of the other, return the shorter one's length.
    If they're equal, return None.
    """
    raise NotImplementedError
''',
    hint="Find the position of the first label that isn't −100. Then compare two lists token by token, and their "
    "lengths last.",
    solution="""\
def prompt_difference(example, prompt_ids):
    prompt = []
    for token, label in zip(example["input_ids"], example["labels"]):
        if label != -100:
            break
        prompt.append(token)
    for position, (token, other) in enumerate(zip(prompt, prompt_ids)):
        if token != other:
            return position
    if len(prompt) != len(prompt_ids):
        return min(len(prompt), len(prompt_ids))
    return None
""",
    praise="call it in your application's tests, with one training example.",
    reference=_difference,
    probes=(
        cases(_seen, _prompts([5, 6, 7, 8], [M, M, 7, 8], [5, 6])),
        cases(_seen, _prompts([5, 6, 7, 8, 9], [M, M, M, 8, 9], [5, 4, 7])),
        cases(_seen, _prompts([5, 6, 7, 8, 9], [M, M, M, 8, 9], [3, 4, 7])),
        cases(_seen, _prompts([5, 6, 7, 8], [M, M, 7, 8], [5, 6, 7]), _prompts([5, 6, 7], [M, M, 7], [5])),
        cases(_seen, _prompts([5, 6, 7, 8], [M, M, M, 8], [4, 6])),
        cases(_seen, _prompts([5, 6, 7, 0, 0], [M, M, 7, M, M], [5, 6])),
        cases(_seen, _prompts([5, 6], [M, M], [5, 6])),
    ),
    mistakes=(
        Mistake(
            "if the prompts are equal, the answer is None. Otherwise, it's a position.",
            (_differs(fine=-1), _differs(fine=False), _differs(fine=True)),
        ),
        Mistake(
            "you compared the prompt with the whole example. Leave out the answer.",
            (_differs(trained=lambda example: example["input_ids"]),),
        ),
        Mistake("count the positions from 0.", (_differs(first=1),)),
        Mistake("if several tokens differ, the answer is the first position.", (_differs(pick=max),)),
        Mistake(
            "zip stops at the end of the shorter list. If one prompt has an extra line break, the other tokens are all "
            "equal, and the prompts still differ.",
            (_differs(ends=False),),
        ),
        Mistake("compare the tokens before the lengths: the first difference may come earlier.", (_lengths_first,)),
        Mistake(
            "padding is masked, too. The prompt ends at the first label that isn't masked.",
            (_differs(trained=_all_masked),),
        ),
        Mistake("an example in which all labels are masked is all prompt.", (_differs(trained=_up_to_an_answer),)),
    ),
)


EXERCISES = (LABEL_FAULT, PROMPT_DIFFERENCE)
