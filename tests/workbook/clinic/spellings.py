"""Right answers to the exercises of notebook 08, as people write them."""

from itertools import takewhile, zip_longest

import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


# label_fault


@right("label_fault")
def two_loops(labels, end):
    rows = [[label for label in row if label != -100] for row in labels.tolist()]
    if [] in rows:
        return "no labels"
    return "nothing" if {row[-1] for row in rows} == {end} else "no end token"


@right("label_fault")
def with_masks(labels, end):
    kept = labels != -100
    if (kept.sum(dim=1) == 0).any():
        return "no labels"
    positions = torch.arange(labels.shape[1])
    last = (kept * positions).argmax(dim=1)
    ends = labels.gather(1, last[:, None]).flatten()
    return ("nothing", "no end token")[bool((ends != end).any())]


@right("label_fault")
def by_where(labels, end):
    faults = []
    for row in labels:
        (where,) = torch.where(row != -100)
        faults.append(
            "no labels" if where.numel() == 0 else "nothing" if row[where[-1]].item() == end else "no end token"
        )
    return next(fault for fault in ("no labels", "no end token", "nothing") if fault in faults)


# prompt_difference


@right("prompt_difference")
def by_zip_longest(example, prompt_ids):
    masked = takewhile(lambda pair: pair[1] == -100, zip(example["input_ids"], example["labels"]))
    pairs = zip_longest((token for token, label in masked), prompt_ids)
    return next((position for position, (token, other) in enumerate(pairs) if token != other), None)


@right("prompt_difference")
def by_slices(example, prompt_ids):
    start = 0
    while start < len(example["labels"]) and example["labels"][start] == -100:
        start += 1
    prompt = example["input_ids"][:start]
    if prompt == prompt_ids:
        return None
    same = 0
    while prompt[: same + 1] == prompt_ids[: same + 1]:
        same += 1
    return same


@right("prompt_difference")
def by_tensors(example, prompt_ids):
    kept = (torch.tensor(example["labels"]) != -100).tolist()
    prompt = torch.tensor(example["input_ids"][: kept.index(True) if True in kept else None])
    other, shorter = torch.tensor(prompt_ids), min(len(prompt), len(prompt_ids))
    (where,) = torch.where(prompt[:shorter] != other[:shorter])
    return where[0].item() if len(where) else None if len(prompt) == len(other) else shorter
