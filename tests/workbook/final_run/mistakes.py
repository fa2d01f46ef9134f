"""Wrong answers to the exercises of notebook 09, as people write them."""

import math
import random

import numpy as np
import torch
import torch.nn.functional as F

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

MARK = "\n\nAnswer:\n"

# encode_row


def tokens_of(question, answer, tokenize, eos):
    return tokenize(question), tokenize(MARK), [*tokenize(answer), eos]


@wrong("encode_row", "the end token is lost")
def eos_forgotten(question, answer, tokenize, eos, max_length):
    q, mark, a = tokenize(question), tokenize(MARK), tokenize(answer)
    q = q[: max_length - len(mark) - len(a)]
    return q + mark + a, len(q) + len(mark)


@wrong("encode_row", "tokenised the texts together")
def template_search(question, answer, tokenize, eos, max_length):
    ids = [*tokenize(question + MARK + answer), eos][:max_length]
    mark = tokenize(MARK)
    for start in range(len(ids)):
        if ids[start : start + len(mark)] == mark:
            return ids, start + len(mark)
    return ids, 0


@wrong("encode_row", "tokenised the texts together")
def length_of_the_prompt(question, answer, tokenize, eos, max_length):
    prompt = question + MARK
    return [*tokenize(prompt + answer), eos], len(tokenize(prompt))


@wrong("encode_row", "searched for MARK")
def mark_searched(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    ids = q[: max_length - len(mark) - len(a)] + mark + a
    at = next(i for i in range(len(ids)) if ids[i : i + len(mark)] == mark)
    return ids, at + len(mark)


@wrong("encode_row", "that of MARK")
def start_before_the_mark(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    q = q[: max_length - len(mark) - len(a)]
    return q + mark + a, len(q)


@wrong("encode_row", "one off")
def start_shifted(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    q = q[: max_length - len(mark) - len(a)]
    return q + mark + a, len(q + mark) - 1


@wrong("encode_row", "MARK is missing")
def mark_forgotten(question, answer, tokenize, eos, max_length):
    q, a = tokenize(question), [*tokenize(answer), eos]
    q = q[: max_length - len(a)]
    return q + a, len(q)


@wrong("encode_row", "truncated the answer away")
def answer_truncated(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    return (q + mark + a)[:max_length], len(q) + len(mark)


@wrong("encode_row", "cut the start of the question")
def cut_on_the_left(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    ids = (q + mark + a)[-max_length:]
    return ids, len(ids) - len(a)


@wrong("encode_row", "cut MARK off")
def mark_cut_off(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    prompt = (q + mark)[: max_length - len(a)]
    return prompt + a, len(prompt)


@wrong("encode_row", "did not cut")
def not_cut(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    return q + mark + a, len(q) + len(mark)


@wrong("encode_row", "before the cut")
def start_before_the_cut(question, answer, tokenize, eos, max_length):
    q, mark, a = tokens_of(question, answer, tokenize, eos)
    start = len(q) + len(mark)
    return q[: max_length - len(mark) - len(a)] + mark + a, start


# split_rows


@wrong("split_rows", "on both sides")
def rows_chosen(rows, held_out, seed):
    rows = rows.copy()
    random.Random(seed).shuffle(rows)
    n = int(len(rows) * (1 - held_out))
    return rows[:n], rows[n:]


@wrong("split_rows", "on both sides")
def each_row_by_chance(rows, held_out, seed):
    draw = np.random.default_rng(seed).random(len(rows))
    return [r for r, x in zip(rows, draw) if x >= held_out], [r for r, x in zip(rows, draw) if x < held_out]


@wrong("split_rows", "rows are lost")
def one_answer_a_question(rows, held_out, seed):
    by_question = {}
    for row in rows:
        by_question.setdefault(row["question_id"], row)
    rows = list(by_question.values())
    random.Random(seed).shuffle(rows)
    n = round(held_out * len(rows))
    return rows[n:], rows[:n]


@wrong("split_rows", "among the training rows too")
def trained_on_everything(rows, held_out, seed):
    ids = sorted({row["question_id"] for row in rows})
    chosen = random.Random(seed).sample(ids, round(held_out * len(ids)))
    return rows, [row for row in rows if row["question_id"] in chosen]


@wrong("split_rows", "sides are swapped")
def sides_swapped(rows, held_out, seed):
    ids = sorted({row["question_id"] for row in rows})
    chosen = random.Random(seed).sample(ids, round(held_out * len(ids)))
    return [row for row in rows if row["question_id"] in chosen], [r for r in rows if r["question_id"] not in chosen]


@wrong("split_rows", "two different splits")
def seed_not_used(rows, held_out, seed):
    ids = list({row["question_id"] for row in rows})
    random.shuffle(ids)
    chosen = ids[: round(held_out * len(ids))]
    return [r for r in rows if r["question_id"] not in chosen], [r for r in rows if r["question_id"] in chosen]


@wrong("split_rows", "always hold out the same")
def last_questions(rows, held_out, seed):
    ids = sorted({row["question_id"] for row in rows})
    chosen = ids[len(ids) - round(held_out * len(ids)) :]
    return [r for r in rows if r["question_id"] not in chosen], [r for r in rows if r["question_id"] in chosen]


@wrong("split_rows", "shuffled the list you were given")
def shuffled_in_place(rows, held_out, seed):
    random.Random(seed).shuffle(rows)
    ids = list(dict.fromkeys(row["question_id"] for row in rows))
    chosen = ids[: round(held_out * len(ids))]
    return [r for r in rows if r["question_id"] not in chosen], [r for r in rows if r["question_id"] in chosen]


# perplexity


@wrong("perplexity", "averaged the exps")
def mean_of_exps(losses, tokens):
    return np.exp(losses).mean()


@wrong("perplexity", "averaged the exps")
def weighted_mean_of_exps(losses, tokens):
    return np.average(np.exp(losses), weights=tokens)


@wrong("perplexity", "2 to the power")
def two_to_the_loss(losses, tokens):
    return 2 ** np.average(losses, weights=tokens)


@wrong("perplexity", "mean of means")
def mean_of_means(losses, tokens):
    return torch.tensor(losses).mean().exp()


@wrong("perplexity", "you gave the mean loss")
def exp_forgotten(losses, tokens):
    return np.dot(losses, tokens) / np.sum(tokens)


@wrong("perplexity", "without multiplying")
def sums_taken_for_granted(losses, tokens):
    return math.exp(sum(losses) / sum(tokens))


@wrong("perplexity", "lost the sign")
def sign_lost(losses, tokens):
    log_p = -np.average(losses, weights=tokens)
    return np.exp(log_p)


@wrong("perplexity", "exp of a sum")
def exp_of_the_sum(losses, tokens):
    return math.prod(math.exp(loss) for loss in losses)


# did_it_train


def layers_in(state):
    return sorted({name.split(".")[0] for name in state if "." in name})


def frozen(before, after):
    return all(torch.equal(before[n], after[n]) for n in before if n.endswith(".base"))


@wrong("did_it_train", "looked at A")
def looks_at_a(before, after):
    return frozen(before, after) and all((before[n] != after[n]).any() for n in before if n.endswith(".A"))


@wrong("did_it_train", "looked at the base only")
def looks_at_the_base_only(before, after):
    return frozen(before, after)


@wrong("did_it_train", "looked at the loss only")
def looks_at_the_loss_only(before, after):
    return before["loss"] - after["loss"] > 0


@wrong("did_it_train", "asked for a falling loss")
def asks_for_a_falling_loss(before, after):
    moved = all(not torch.equal(before[n], after[n]) for n in before if n.endswith(".B"))
    return moved and frozen(before, after) and after["loss"] < before["loss"]


@wrong("did_it_train", "content with one layer")
def content_with_one_layer(before, after):
    moved = any(not torch.equal(before[n], after[n]) for n in before if n.endswith(".B"))
    finite = all(torch.isfinite(after[n]).all() for n in after if n.endswith(".B"))
    return moved and finite and frozen(before, after)


@wrong("did_it_train", "whether B is zero")
def asks_whether_b_is_zero(before, after):
    return frozen(before, after) and all(after[f"{layer}.B"].abs().sum() > 0 for layer in layers_in(after))


@wrong("did_it_train", "whether B is zero")
def asks_whether_b_is_zero_anywhere(before, after):
    return frozen(before, after) and all(after[f"{layer}.B"].any() for layer in layers_in(after))


@wrong("did_it_train", "did not look at the base")
def base_not_looked_at(before, after):
    return all((before[n] != after[n]).any() and after[n].isfinite().all() for n in before if n.endswith(".B"))


@wrong("did_it_train", "with a tolerance")
def base_compared_loosely(before, after):
    return all(
        torch.allclose(before[f"{layer}.base"], after[f"{layer}.base"])
        and not torch.equal(before[f"{layer}.B"], after[f"{layer}.B"])
        and not after[f"{layer}.B"].isnan().any()
        for layer in layers_in(before)
    )


@wrong("did_it_train", "took NaN for training")
def nan_taken_for_training(before, after):
    return all(
        torch.equal(before[f"{layer}.base"], after[f"{layer}.base"])
        and not torch.equal(before[f"{layer}.B"], after[f"{layer}.B"])
        for layer in layers_in(before)
    )


# answer_labels


@wrong("answer_labels", "shifted twice")
def shifted_twice(ids, start, length):
    labels = [-100] * len(ids)
    for t in range(start, length):
        labels[t - 1] = ids[t]
    return labels


@wrong("answer_labels", "masked by id")
def eos_masked_by_id(ids, start, length):
    labels = torch.tensor(ids)
    labels[:start] = -100
    labels[labels == 0] = -100
    return labels


@wrong("answer_labels", "at the question's positions")
def answer_over_question(ids, start, length):
    answer = ids[start:length]
    return answer + [-100] * (len(ids) - len(answer))


@wrong("answer_labels", "kept the padding")
def padding_kept(ids, start, length):
    return [-100] * start + ids[start:]


@wrong("answer_labels", "kept the question")
def question_kept(ids, start, length):
    labels = np.array(ids)
    labels[length:] = -100
    return labels


@wrong("answer_labels", "labelled every token")
def all_tokens(ids, start, length):
    return torch.tensor(ids).clone()


@wrong("answer_labels", "dropped the last real token")
def last_token_lost(ids, start, length):
    return [t if start <= i < length - 1 else -100 for i, t in enumerate(ids)]


@wrong("answer_labels", "dropped the first token")
def first_token_lost(ids, start, length):
    return [-100] * (start + 1) + ids[start + 1 : length] + [-100] * (len(ids) - length)


@wrong("answer_labels", "the other way round")
def question_for_answer(ids, start, length):
    return ids[:start] + [-100] * (len(ids) - start)


@wrong("answer_labels", "filled with 0")
def zeros_for_ignored(ids, start, length):
    return [0] * start + ids[start:length] + [0] * (len(ids) - length)


@wrong("answer_labels", "you gave the mask")
def mask_given(ids, start, length):
    return [0] * start + [1] * (length - start) + [0] * (len(ids) - length)


# loss_by_hand


def log_probabilities(logits, labels):
    """ln p of the next token, and where it has a label; labels of -100 are looked up as 0."""
    log_p = torch.log_softmax(logits[:, :-1, :], dim=-1)
    target = labels[:, 1:]
    return log_p.gather(2, target.clamp(min=0)[:, :, None])[:, :, 0], target >= 0


@wrong("loss_by_hand", "averaged over all tokens")
def all_positions(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    return -(log_p * mask).mean()


@wrong("loss_by_hand", "averaged over all tokens")
def mask_ignored(logits, labels):
    return -log_probabilities(logits, labels)[0].mean()


@wrong("loss_by_hand", "mean of means")
def mean_of_sequence_means(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    rows = [-p[m].sum() / m.sum() for p, m in zip(log_p, mask)]
    return sum(rows) / len(rows)


@wrong("loss_by_hand", "log2")
def bits(logits, labels):
    p = torch.softmax(logits, -1)
    found = [
        math.log2(p[b, t, labels[b, t + 1]])
        for b in range(labels.shape[0])
        for t in range(labels.shape[1] - 1)
        if labels[b, t + 1] != -100
    ]
    return -sum(found) / len(found)


@wrong("loss_by_hand", "log10")
def decimal_logarithm(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    return -torch.log10(log_p[mask].exp()).mean()


@wrong("loss_by_hand", "did not shift")
def not_shifted(logits, labels):
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), labels.reshape(-1))


@wrong("loss_by_hand", "the wrong way")
def previous_token(logits, labels):
    return F.cross_entropy(logits[:, 1:].transpose(1, 2), labels[:, :-1])


@wrong("loss_by_hand", "shifted twice")
def one_token_further(logits, labels):
    labels = labels[:, 1:]  # "the labels have to be shifted", and then the usual line below
    return F.cross_entropy(logits[:, :-2].transpose(1, 2), labels[:, 1:])


@wrong("loss_by_hand", "you gave the sum")
def summed(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    return -log_p[mask].sum()


@wrong("loss_by_hand", "minus sign")
def minus_lost(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    return log_p[mask].mean()


@wrong("loss_by_hand", "wrong axis")
def softmax_over_positions(logits, labels):
    return -log_probabilities_over(1, logits, labels)


def log_probabilities_over(axis, logits, labels):
    target = labels[:, 1:]
    picked = logits[:, :-1].softmax(axis).log().gather(2, target.clamp(min=0).unsqueeze(2)).squeeze(2)
    return picked[target != -100].mean()


@wrong("loss_by_hand", "mean probability")
def log_of_the_mean(logits, labels):
    log_p, mask = log_probabilities(logits, labels)
    return -math.log(log_p[mask].exp().mean())


@wrong("loss_by_hand", "where logits are large")
def logarithm_of_a_softmax(logits, labels):
    p = torch.softmax(logits[:, :-1], dim=-1)
    y = labels[:, 1:]
    return -torch.log(p[y != -100][torch.arange(int((y != -100).sum())), y[y != -100]]).mean()


@wrong("loss_by_hand", "where logits are large")
def softmax_written_out(logits, labels):
    e = torch.exp(logits)
    p = e / e.sum(dim=2, keepdim=True)
    losses = []
    for b, t in (labels[:, 1:] != -100).nonzero().tolist():
        losses.append(-torch.log(p[b, t, labels[b, t + 1]]))
    return torch.stack(losses).mean()
