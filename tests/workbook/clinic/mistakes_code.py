"""Wrong answers to notebook 08's exercises on LoRA's update and the Hadamard transform, as people write them."""

import math

import torch
import torch.nn.functional as F

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# lora_update


@wrong("lora_update", "still multiply by α")
def alpha_alone(x, A, B, alpha):
    return F.linear(F.linear(x, A), B) * alpha


@wrong("lora_update", "took α out")
def not_scaled(x, A, B, alpha):
    return x @ (B @ A).T


@wrong("lora_update", "rsLoRA's rule")
def by_the_root(x, A, B, alpha):
    return F.linear(x @ A.T, alpha / math.sqrt(A.shape[0]) * B)


@wrong("lora_update", "divided by a width")
def length_of_a_row(x, A, B, alpha):
    return alpha / A.size(-1) * x.mm(A.t()).mm(B.t())


@wrong("lora_update", "divided by a width")
def length_of_b(x, A, B, alpha):
    r = len(B)
    return (alpha / r) * F.linear(F.linear(x, A), B)


@wrong("lora_update", "dropped the rest")
def whole_numbers(x, A, B, alpha):
    return x @ A.T @ B.T * (alpha // A.shape[0])


@wrong("lora_update", "the ratio round")
def r_over_alpha(x, A, B, alpha):
    return A.shape[0] / alpha * F.linear(F.linear(x, A), B)


@wrong("lora_update", "lost α")
def divided_alone(x, A, B, alpha):
    return x @ A.T @ B.T / A.shape[0]


@wrong("lora_update", "by r twice")
def in_both_products(x, A, B, alpha):
    r = A.shape[0]
    return alpha * F.linear(F.linear(x, A) / r, B) / r


@wrong("lora_update", "is 2 whatever")
def two_always(x, A, B, alpha):
    return 2 * (x @ A.T @ B.T)


# transform


def signs(n):
    """H from its definition: entry (i, j) is -1 to the number of ones that i and j have in common."""
    return torch.tensor([[(-1.0) ** (i & j).bit_count() for j in range(n)] for i in range(n)], dtype=torch.float64)


def function(name, back, scale=lambda n: 1.0):
    """An answer called `name` whose backward pass is `back` and whose forward pass is scaled."""

    def forward(ctx, x):
        return x @ signs(x.shape[-1]) * scale(x.shape[-1])

    def backward(ctx, grad):
        return back(grad, grad.shape[-1])

    both = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    return type(name, (torch.autograd.Function,), both).apply


for label, fragment, answer in (
    ("by the root", "still divides by √n", function("Root", lambda grad, n: grad @ signs(n) / math.sqrt(n))),
    ("inverse", "the inverse of H", function("Inverse", lambda grad, n: torch.linalg.solve(signs(n), grad.mT).mT
                                             if grad.ndim > 1 else torch.linalg.solve(signs(n), grad))),
    ("times the root", "multiplied by √n", function("Times", lambda grad, n: math.sqrt(n) * grad @ signs(n))),
    ("orthonormal", "scaled the forward pass", function("Both", lambda grad, n: grad @ signs(n) * n**-0.5,
                                                        lambda n: n**-0.5)),
    ("orthonormal without a function", "scaled the forward pass", lambda x: x @ signs(x.shape[-1]) / x.shape[-1]**0.5),
    ("mean", "scaled the forward pass", lambda x: x @ signs(x.shape[-1]) / x.shape[-1]),
    ("handed on", "hands the gradient on", function("Identity", lambda grad, n: grad.clone())),
    ("nothing returned", "gives no gradient", function("Nothing", lambda grad, n: None)),
    ("minus", "the wrong sign", function("Minus", lambda grad, n: -(grad @ signs(n)))),
):  # fmt: skip
    bank.add("transform", label, fragment, answer)


@wrong("transform", "no history")
@torch.no_grad()
def under_no_grad(x):
    return x @ signs(x.shape[-1])
