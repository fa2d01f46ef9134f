"""Wrong answers to the exercises of notebook 07, as people write them."""

import torch
import torch.nn.functional as F

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# swap_merged


@wrong("swap_merged", "on top of the old one")
@torch.no_grad()
def on_top(weight, kept, old, new):
    A, B, alpha = new
    weight += alpha / A.shape[0] * B @ A


@wrong("swap_merged", "on top of the old one")
@torch.no_grad()
def both_merged(weight, kept, old, new):
    weight.copy_(kept + sum(alpha / A.size(0) * torch.mm(B, A) for A, B, alpha in (old, new)))


@wrong("swap_merged", "put none in")
@torch.no_grad()
def only_taken_out(weight, kept, old, new):
    weight.copy_(kept)


@wrong("swap_merged", "put none in")
@torch.no_grad()
def only_subtracted(weight, kept, old, new):
    A, B, alpha = old
    weight -= alpha / A.shape[0] * (B @ A)


@wrong("swap_merged", "another copy of the base")
def new_tensor_returned(weight, kept, old, new):
    A, B, alpha = new
    return (kept + alpha / A.shape[0] * (B @ A)).to(weight.dtype)


@wrong("swap_merged", "another copy of the base")
@torch.no_grad()
def name_bound_anew(weight, kept, old, new):
    A, B, alpha = new
    weight = kept.clone()
    weight += alpha / A.shape[0] * (B @ A)


@wrong("swap_merged", "subtracted the old update")
@torch.no_grad()
def out_and_in(weight, kept, old, new):
    for sign, (A, B, alpha) in ((-1, old), (1, new)):
        weight += sign * alpha / A.shape[0] * (B @ A)


@wrong("swap_merged", "subtracted the old update")
@torch.no_grad()
def difference_added(weight, kept, old, new):
    (A0, B0, alpha0), (A1, B1, alpha1) = old, new
    weight += (alpha1 / len(A1) * B1 @ A1 - alpha0 / len(A0) * B0 @ A0).to(weight.dtype)


@wrong("swap_merged", "you changed kept")
@torch.no_grad()
def kept_in_place(weight, kept, old, new):
    A, B, alpha = new
    weight.copy_(kept.add_(alpha / A.shape[0] * (B @ A)))


@wrong("swap_merged", "you changed kept")
@torch.no_grad()
def kept_handed_over(weight, kept, old, new):
    A, B, alpha = new
    weight.data = kept
    weight += alpha / A.shape[0] * (B @ A)


@wrong("swap_merged", "left the scaling out")
@torch.no_grad()
def unscaled(weight, kept, old, new):
    A, B, _ = new
    weight.copy_(torch.addmm(kept.to(A.dtype), B, A))


@wrong("swap_merged", "by α, not α/r")
@torch.no_grad()
def raw_alpha(weight, kept, old, new):
    A, B, alpha = new
    weight.copy_(torch.addmm(kept.to(A.dtype), B, A, alpha=alpha))


@wrong("swap_merged", "as the old one")
@torch.no_grad()
def scaling_of_the_old(weight, kept, old, new):
    scaling = old[2] / old[0].shape[0]
    weight.copy_(kept + scaling * (new[1] @ new[0]))


@wrong("swap_merged", "you formed AB")
@torch.no_grad()
def a_times_b(weight, kept, old, new):
    A, B, alpha = new
    weight.copy_(kept + alpha / A.shape[0] * torch.matmul(A, B))


@wrong("swap_merged", "is transposed")
@torch.no_grad()
def transposed(weight, kept, old, new):
    A, B, alpha = new
    weight.copy_(kept + alpha / A.shape[0] * (A.T @ B.T))


@wrong("swap_merged", "subtracted the new")
@torch.no_grad()
def new_subtracted(weight, kept, old, new):
    A, B, alpha = new
    weight.copy_(kept)
    weight -= alpha / A.shape[0] * (B @ A)


@wrong("swap_merged", "the update alone")
@torch.no_grad()
def update_alone(weight, kept, old, new):
    A, B, alpha = new
    weight[:] = alpha / A.shape[0] * (B @ A)


@wrong("swap_merged", "rounded the update")
@torch.no_grad()
def rounded_twice(weight, kept, old, new):
    A, B, alpha = new
    weight.copy_(kept).add_((alpha / A.shape[0] * (B @ A)).type_as(weight))


@wrong("swap_merged", "autograd recorded")
def with_a_history(weight, kept, old, new):
    A, B, alpha = new
    weight.copy_(kept)
    weight += alpha / A.shape[0] * (B @ A)


# mixed_forward


def low_rank(x, A, B, alpha):
    return alpha / A.shape[0] * F.linear(F.linear(x, A), B)


@wrong("mixed_forward", "one adapter for the whole")
def that_of_the_first_row(x, W, adapters, ids):
    return F.linear(x, W) + low_rank(x, *adapters[ids[0]])


@wrong("mixed_forward", "one adapter for the whole")
def the_first_there_is(x, W, adapters, ids):
    A, B, alpha = adapters[0]
    return F.linear(x, W + alpha / A.shape[0] * (B @ A))


@wrong("mixed_forward", "the mean of the adapters")
def mean_of_the_updates(x, W, adapters, ids):
    deltas = [alpha / A.shape[0] * (B @ A) for A, B, alpha in adapters]
    return F.linear(x, W + torch.stack(deltas).mean(0))


@wrong("mixed_forward", "the mean of the adapters")
def mean_of_the_factors(x, W, adapters, ids):
    A, B = (torch.stack([adapter[i] for adapter in adapters]).mean(0) for i in (0, 1))
    alpha = sum(adapter[2] for adapter in adapters) / len(adapters)
    return F.linear(x, W) + low_rank(x, A, B, alpha)


@wrong("mixed_forward", "all adapters to every row")
def all_of_them(x, W, adapters, ids):
    h = F.linear(x, W)
    for adapter in adapters:
        h = h + low_rank(x, *adapter)
    return h


@wrong("mixed_forward", "the row's number")
def by_the_row(x, W, adapters, ids):
    h = F.linear(x, W)
    for row in range(len(x)):
        h[row] += low_rank(x[row], *adapters[row % len(adapters)])
    return h


def by_adapter(update, first=0):
    """An answer that goes through the adapters and adds `update(x, A, B, alpha, adapters)` to their rows."""

    def answer(x, W, adapters, ids):
        h = F.linear(x, W)
        for i in range(first, len(adapters)):
            h[ids == i] += update(x[ids == i], *adapters[i], adapters)
        return h

    return answer


def scaling_of_the_first(x, A, B, alpha, adapters):
    return adapters[0][2] / len(adapters[0][0]) * (x @ A.T @ B.T)


bank.add("mixed_forward", "unscaled", "left the scaling out", by_adapter(lambda x, A, B, alpha, _: x @ (B @ A).T))
bank.add("mixed_forward", "raw alpha", "by α, not α/r", by_adapter(lambda x, A, B, alpha, _: alpha * x @ A.T @ B.T))
bank.add("mixed_forward", "scaling of the first", "the first one's scaling", by_adapter(scaling_of_the_first))
bank.add(
    "mixed_forward", "zero for none", "adapter 0 for none", by_adapter(lambda x, A, B, a, _: low_rank(x, A, B, a), 1)
)


@wrong("mixed_forward", "in the order of the adapters")
def grouped_and_joined(x, W, adapters, ids):
    parts = [F.linear(x[ids == -1], W)]
    for i, adapter in enumerate(adapters):
        parts.append(F.linear(x[ids == i], W) + low_rank(x[ids == i], *adapter))
    return torch.cat(parts)


@wrong("mixed_forward", "the updates alone")
def updates_alone(x, W, adapters, ids):
    h = torch.zeros(*x.shape[:-1], W.shape[0])
    for i, adapter in enumerate(adapters):
        h[ids == i] = low_rank(x[ids == i], *adapter)
    return h


@wrong("mixed_forward", "once for every adapter")
def base_in_every_turn(x, W, adapters, ids):
    h = torch.zeros(*x.shape[:-1], W.shape[0])
    for i, adapter in enumerate(adapters):
        mine = (ids == i).float().view(-1, *[1] * (x.ndim - 1))
        h += F.linear(x, W) + mine * low_rank(x, *adapter)
    return h


@wrong("mixed_forward", "pile up in W")
def merged_one_after_the_other(x, W, adapters, ids):
    h = F.linear(x, W)
    for i, (A, B, alpha) in enumerate(adapters):
        W += alpha / A.shape[0] * (B @ A)
        h[ids == i] = F.linear(x[ids == i], W)
    return h


@wrong("mixed_forward", "adapter 0 for none")
def asked_whether_true(x, W, adapters, ids):
    h = F.linear(x, W)
    for row, i in enumerate(ids.tolist()):
        if i and i != -1:
            h[row] += low_rank(x[row], *adapters[i])
    return h


@wrong("mixed_forward", "adapters[-1] is the last")
def indexed_by_minus_one(x, W, adapters, ids):
    return torch.stack([F.linear(row, W) + low_rank(row, *adapters[i]) for row, i in zip(x, ids)])


@wrong("mixed_forward", "without an adapter are zero")
def written_by_the_adapters_alone(x, W, adapters, ids):
    h = torch.zeros(*x.shape[:-1], W.shape[0])
    for i, adapter in enumerate(adapters):
        h[ids == i] = F.linear(x[ids == i], W) + low_rank(x[ids == i], *adapter)
    return h


@wrong("mixed_forward", "you dropped the rows")
def rows_left_out(x, W, adapters, ids):
    return torch.stack([F.linear(row, W) + low_rank(row, *adapters[i]) for row, i in zip(x, ids) if i >= 0])
