"""Wrong answers to the exercises on linear layers, as people write them."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# lora_forward


@wrong("lora_forward", "by α, not α/r")
def raw_alpha(x, W, A, B, alpha, p, training):
    x_in = F.dropout(x, p=p, training=training)
    return F.linear(x, W) + alpha * F.linear(F.linear(x_in, A), B)


@wrong("lora_forward", "left the scaling out")
def unscaled(x, W, A, B, alpha, p, training):
    return F.linear(x, W) + F.linear(F.linear(F.dropout(x, p, training), A), B)


@wrong("lora_forward", "not r/α")
def scaling_turned_round(x, W, A, B, alpha, p, training):
    r, _ = A.shape
    return F.linear(x, W) + F.linear(F.linear(F.dropout(x, p, training), A), B) * r / alpha


@wrong("lora_forward", "rsLoRA")
def root_of_the_rank(x, W, A, B, alpha, p, training):
    return x @ W.T + F.dropout(x, p, training) @ A.T @ B.T * alpha / math.sqrt(B.shape[1])


@wrong("lora_forward", "scaled twice")
def scaled_twice(x, W, A, B, alpha, p, training):
    scaling = alpha / A.size(0)
    z = scaling * F.linear(F.dropout(x, p, training), A)
    return F.linear(x, W) + scaling * F.linear(z, B)


@wrong("lora_forward", "off the wrong side")
def rank_off_the_wrong_side(x, W, A, B, alpha, p, training):
    r = A.size(-1)
    return F.linear(x, W) + alpha / r * F.linear(F.linear(F.dropout(x, p, training), A), B)


@wrong("lora_forward", "swapped A and B")
def swapped(x, W, A, B, alpha, p, training):
    r = A.shape[0]
    z = F.linear(F.dropout(x, p, training), B)
    return F.linear(x, W) + alpha / r * F.linear(z, A)


@wrong("lora_forward", "swapped A and B")
def update_not_transposed(x, W, A, B, alpha, p, training):
    r = A.shape[0]
    return x @ W.T + alpha / r * (F.dropout(x, p, training) @ B @ A)


@wrong("lora_forward", "forgot to transpose")
def weight_not_transposed(x, W, A, B, alpha, p, training):
    r = A.shape[0]
    return torch.matmul(x, W) + alpha / r * (F.dropout(x, p, training) @ A.T @ B.T)


@wrong("lora_forward", "forgot to transpose")
def factors_not_transposed(x, W, A, B, alpha, p, training):
    r = A.shape[0]
    return x @ W.T + alpha / r * ((F.dropout(x, p, training) @ A) @ B)


@wrong("lora_forward", "the update alone")
def base_forgotten(x, W, A, B, alpha, p, training):
    return alpha / A.shape[0] * F.linear(F.linear(F.dropout(x, p, training), A), B)


@wrong("lora_forward", "no gradient reaches")
def made_without_gradient(x, W, A, B, alpha, p, training):
    with torch.no_grad():
        update = alpha / A.shape[0] * (B @ A)
    return F.linear(x, W) + F.linear(F.dropout(x, p, training), update)


@wrong("lora_forward", "no gradient reaches")
def a_taken_as_data(x, W, A, B, alpha, p, training):
    return F.linear(x, W) + alpha / A.shape[0] * (F.dropout(x, p, training) @ A.data.T) @ B.T


@wrong("lora_forward", "in evaluation too")
def dropout_in_evaluation(x, W, A, B, alpha, p, training):
    x_in = nn.Dropout(p)(x)  # a new module is in training mode
    return F.linear(x, W) + alpha / A.shape[0] * F.linear(F.linear(x_in, A), B)


@wrong("lora_forward", "falls on the output")
def dropout_on_the_output(x, W, A, B, alpha, p, training):
    h = F.linear(x, W) + alpha / A.shape[0] * F.linear(F.linear(x, A), B)
    return F.dropout(h, p, training)


@wrong("lora_forward", "falls on the output")
def dropout_on_the_update(x, W, A, B, alpha, p, training):
    update = alpha / A.shape[0] * F.linear(F.linear(x, A), B)
    return F.linear(x, W) + F.dropout(update, p, training)


@wrong("lora_forward", "falls on A x")
def dropout_after_a(x, W, A, B, alpha, p, training):
    z = F.dropout(F.linear(x, A), p, training)
    return F.linear(x, W) + alpha / A.shape[0] * F.linear(z, B)


@wrong("lora_forward", "on the frozen path too")
def dropout_for_the_base_too(x, W, A, B, alpha, p, training):
    x = F.dropout(x, p, training)
    return F.linear(x, W) + alpha / A.shape[0] * F.linear(F.linear(x, A), B)


@wrong("lora_forward", "no dropout in training")
def no_dropout(x, W, A, B, alpha, p, training):
    return F.linear(x, W + alpha / A.shape[0] * B @ A)


# lora_merge


@wrong("lora_merge", "subtracted")
def subtracted(W, A, B, alpha, merged):
    if not merged:
        W = (W - alpha / A.shape[0] * (B @ A)).to(W.dtype)
    return W


@wrong("lora_merge", "formed AB")
def a_times_b(W, A, B, alpha, merged):
    return W if merged else (W.float() + alpha / A.shape[0] * torch.mm(A, B)).to(W.dtype)


@wrong("lora_merge", "transposed")
def transposed(W, A, B, alpha, merged):
    if merged:
        return W
    return (alpha / A.shape[0] * (A.T @ B.T) + W).to(W.dtype)


@wrong("lora_merge", "left the scaling out")
def merged_unscaled(W, A, B, alpha, merged):
    return W if merged else (W + torch.matmul(B, A)).type_as(W)


@wrong("lora_merge", "by α, not α/r")
def merged_with_raw_alpha(W, A, B, alpha, merged):
    return W if merged else torch.addmm(W.to(A.dtype), B, A, alpha=alpha).to(W.dtype)


@wrong("lora_merge", "scaled twice")
def merge_scaled_twice(W, A, B, alpha, merged):
    scaling = alpha / A.shape[0]
    return W if merged else (W + (scaling * B) @ (scaling * A)).to(W.dtype)


@wrong("lora_merge", "the update alone")
def update_given(W, A, B, alpha, merged):
    return W if merged else (alpha / A.shape[0] * B @ A).to(W.dtype)


@wrong("lora_merge", "merged twice")
def merged_twice(W, A, B, alpha, merged):
    r = len(A)
    return W.add(alpha / r * (B @ A)).to(W.dtype)


@wrong("lora_merge", "took the update out")
def unmerged_when_merged(W, A, B, alpha, merged):
    update = alpha / A.shape[0] * (B @ A)
    return (W - update if merged else W + update).to(W.dtype)


@wrong("lora_merge", "rounded the update")
def rounded_twice(W, A, B, alpha, merged):
    update = (alpha / A.shape[0] * (B @ A)).to(W.dtype)
    return W if merged else W + update


@wrong("lora_merge", "left the sum in fp32")
def left_in_fp32(W, A, B, alpha, merged):
    return W if merged else W + alpha / A.shape[0] * (B @ A)


@wrong("lora_merge", "in place")
def in_place(W, A, B, alpha, merged):
    if not merged:
        W.data += alpha / A.shape[0] * (B @ A)
    return W
