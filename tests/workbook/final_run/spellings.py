"""Right answers to the exercises of notebook 09, as people write them."""

import math
import random

import numpy as np
import torch

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


MARK = "\n\nAnswer:\n"

# encode_row


@right("encode_row")
def cut_only_if_too_long(question, answer, tokenize, eos, max_length):
    q, m, a = tokenize(question), tokenize(MARK), tokenize(answer)
    too_many = len(q) + len(m) + len(a) + 1 - max_length
    if too_many > 0:
        q = q[: len(q) - too_many]
    ids = q + m + a + [eos]
    return ids, len(q) + len(m)


@right("encode_row")
def dropped_one_by_one(question, answer, tokenize, eos, max_length):
    asked, behind = list(tokenize(question)), [*tokenize(MARK)]
    said = list(tokenize(answer))
    said.append(eos)
    while len(asked) + len(behind) + len(said) > max_length:
        asked.pop()
    asked.extend(behind)
    start = len(asked)
    asked.extend(said)
    return asked, start


@right("encode_row")
def as_a_tensor(question, answer, tokenize, eos, max_length):
    answer_ids = [*tokenize(MARK), *tokenize(answer), eos]
    room = max_length - len(answer_ids)
    ids = torch.tensor(tokenize(question)[:room] + answer_ids)
    return ids, len(ids) - len(tokenize(answer)) - 1


@right("encode_row")
def as_a_tuple_and_an_array(question, answer, tokenize, eos, max_length):
    parts = [np.array(tokenize(text), dtype=int) for text in (question, MARK, answer)]
    parts[0] = parts[0][: max_length - len(parts[1]) - len(parts[2]) - 1]
    return [np.concatenate([*parts, [eos]]), np.int64(len(parts[0]) + len(parts[1]))]


# answer_labels


@right("answer_labels")
def token_by_token(ids, start, length):
    labels = []
    for t, token in enumerate(ids):
        labels.append(token if start <= t < length else -100)
    return labels


@right("answer_labels")
def masked_copy(ids, start, length):
    labels = torch.tensor(ids)
    labels[:start] = -100
    labels[length:] = -100
    return labels


add("answer_labels", "joined", lambda ids, a, b: torch.tensor([-100] * a + ids[a:b] + [-100] * (len(ids) - b)))
add("answer_labels", "NumPy", lambda ids, a, b: np.where([a <= t < b for t in range(len(ids))], ids, -100))


@right("answer_labels")
def filled_list(ids, start, length):
    labels = [-100] * len(ids)
    labels[start:length] = ids[start:length]
    return tuple(labels)


@right("answer_labels")
def by_where(ids, start, length):
    t = torch.arange(len(ids))
    return torch.where((t >= start) & (t < length), torch.tensor(ids), -100).int()


# split_rows


@right("split_rows")
def drawn_by_sample(rows, held_out, seed):
    ids = sorted({row["question_id"] for row in rows})
    chosen = set(random.Random(seed).sample(ids, int(held_out * len(ids))))
    held = [row for row in rows if row["question_id"] in chosen]
    return [row for row in rows if row["question_id"] not in chosen], held


@right("split_rows")
def drawn_by_numpy(rows, held_out, seed):
    ids = np.unique([row["question_id"] for row in rows])
    order = np.random.default_rng(seed).permutation(ids)
    held_ids = set(order[: round(held_out * len(ids))].tolist())
    train, held = [], []
    for row in rows:
        (held if row["question_id"] in held_ids else train).append(row)
    return train, held


@right("split_rows")
def grouped_then_shuffled(rows, held_out, seed):
    groups = {}
    for row in rows:
        groups.setdefault(row["question_id"], []).append(row)
    order = list(groups.values())
    random.seed(seed)
    random.shuffle(order)
    cut = math.ceil(held_out * len(order))
    return [row for group in order[cut:] for row in group], [row for group in order[:cut] for row in group]


@right("split_rows")
def drawn_by_torch(rows, held_out, seed):
    ids = list(dict.fromkeys(row["question_id"] for row in rows))
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(seed)).tolist()
    held_ids = {ids[i] for i in order[: int(len(ids) * held_out)]}
    return tuple(tuple(r for r in rows if (r["question_id"] in held_ids) is side) for side in (False, True))


# did_it_train


@right("did_it_train")
def key_by_key(before, after):
    for key in before:
        if key.endswith(".base") and (before[key] != after[key]).any():
            return False
        if key.endswith(".B"):
            if (after[key] == before[key]).all():
                return False
            if not torch.isfinite(after[key]).all():
                return False
    return True


@right("did_it_train")
def by_comprehension(a, b):
    return all(
        (a[n] == b[n]).all() if "base" in n else (a[n] != b[n]).any() and b[n].isfinite().all()
        for n in a
        if n[-1] in "eB"
    )


@right("did_it_train")
def by_differences(before, after):
    layers = [key[: -len(".B")] for key in after if key.endswith(".B")]
    moved = [(after[f"{n}.B"] - before[f"{n}.B"]).abs().sum().item() for n in layers]
    kept = [(after[f"{n}.base"] - before[f"{n}.base"]).abs().max().item() for n in layers]
    return all(0 < m < math.inf for m in moved) and not any(kept)


@right("did_it_train")
def by_numpy(before, after):
    base = [key for key in before if "base" in key]
    updates = [key for key in before if key.split(".")[-1] == "B"]
    same = np.all([np.array_equal(before[k].numpy(), after[k].numpy()) for k in base])
    fine = np.all([np.isfinite(after[k].numpy()).all() for k in updates])
    return same and fine and all(not torch.equal(before[k], after[k]) for k in updates)
