"""Wrong answers to the exercises on bottleneck adapters and swapping, as people write them."""

import torch
from torch import nn

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# bottleneck_parameters


def count(module):
    return sum(p.numel() for p in module.parameters())


def built(block, last=1):
    """An answer that builds what is trained and counts it: `block(d, m)` lists the modules of a block."""
    return lambda d, m, blocks: blocks * sum(map(count, block(d, m))) + last * count(nn.LayerNorm(d))


def adapter(d, m, bias=True):
    return nn.Sequential(nn.Linear(d, m, bias=bias), nn.Linear(m, d, bias=bias))


def norms(d, n=2):
    return [nn.LayerNorm(d) for _ in range(n)]


for label, fragment, formula in (
    ("no biases", "forgot the biases", built(lambda d, m: [adapter(d, m, bias=False) for _ in "am"] + norms(d))),
    ("b_up alone", "counted one bias", lambda d, m, L: 2 * L * (2 * d * m + d) + (2 * L + 1) * 2 * d),
    ("biases of length d", "one length", lambda d, m, L: 2 * L * (2 * d * m + 2 * d) + (4 * L + 2) * d),
    ("biases of length m", "one length", lambda d, m, L: 2 * L * 2 * (d * m + m) + (4 * L + 2) * d),
    ("down alone", "counted one matrix", built(lambda d, m: [nn.Linear(d, m), nn.Linear(d, m), *norms(d)])),
    ("one matrix, both biases", "counted one matrix", lambda d, m, L: 2 * L * (d * m + d + m) + (2 * L + 1) * 2 * d),
    ("one adapter", "one adapter in a block", built(lambda d, m: [adapter(d, m), *norms(d)])),
    ("every linear layer", "behind every linear", built(lambda d, m: [adapter(d, m) for _ in range(4)] + norms(d))),
    ("no norms", "forgot the LayerNorms", built(lambda d, m: [adapter(d, m), adapter(d, m)], last=0)),
    ("no last norm", "the last LayerNorm", built(lambda d, m: [adapter(d, m), adapter(d, m), *norms(d)], last=0)),
    ("one norm a block", "second LayerNorm", built(lambda d, m: [adapter(d, m), adapter(d, m), *norms(d, 1)])),
    ("b_up forgotten", "second LayerNorm", lambda d, m, L: L * 2 * (2 * d * m + m) + 2 * d * (2 * L + 1)),
    ("norms without bias", "a LayerNorm's bias", lambda d, m, L: L * 2 * (2 * d * m + d + m) + d * (2 * L + 1)),
    ("one block", "counted one block", lambda d, m, L: 2 * (2 * d * m + d + m) + 3 * 2 * d),
    ("as for LoRA", "as for LoRA", lambda d, m, L: 2 * L * m * (d + d)),
):
    bank.add("bottleneck_parameters", label, fragment, formula)

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
