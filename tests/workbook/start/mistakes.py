"""Wrong answers to the exercises of notebook 00, as people write them."""

import torch

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong


@wrong("lora_size", "multiplied all three")
def product_of_everything(d, k, r):
    return r * d * k


@wrong("lora_size", "multiplied all three")
def both_factors_multiplied(d, k, r):
    B, A = d * r, r * k
    return B * A


@wrong("lora_size", "matrix is square")
def square_of_outputs(d, k, r):
    return 2 * d * r


@wrong("lora_size", "matrix is square")
def square_of_inputs(d, k, r):
    return r * k + r * k


@wrong("lora_size", "added r to the sides")
def sides_with_r(d, k, r):
    return (r + d) * (r + k)


@wrong("lora_size", "added r to the sides")
def sums_of_sides(d, k, r):
    return sum((d, r)) + sum((r, k))


@wrong("lora_size", "counted the rank once")
def rank_in_b_only(d, k, r):
    return d * r + k


@wrong("lora_size", "counted the rank once")
def rank_in_a_only(d, k, r):
    return d + r * k


@wrong("lora_size", "counted the rank once")
def rank_as_one_more_number(d, k, r):
    return d + k + r


@wrong("lora_size", "counted one factor")
def b_alone(d, k, r):
    return torch.empty(d, r).numel()


@wrong("lora_size", "counted one factor")
def a_alone(d, k, r):
    return torch.empty(r, k).numel()


@wrong("lora_size", "counted W0 too")
def base_included(d, k, r):
    return sum(m.numel() for m in (torch.empty(d, k, device="meta"), torch.empty(d, r), torch.empty(r, k)))


@wrong("lora_size", "instead of B and A")
def the_product_s_size(d, k, r):
    return (torch.empty(d, r, device="meta") @ torch.empty(r, k, device="meta")).numel()


@wrong("lora_size", "left the rank out")
def one_column_and_one_row(d, k, r):
    return d + k


@wrong("lora_size", "these are bytes")
def bytes_in_fp32(d, k, r):
    return torch.empty(d, r).nbytes + torch.empty(r, k).nbytes


@wrong("lora_size", "these are bytes")
def bytes_in_half(d, k, r):
    return 2 * (d * r + r * k)


@wrong("lora_size", "fraction of W0")
def share(d, k, r):
    return r * (d + k) / (d * k)


@wrong("lora_size", "fraction of W0")
def percent(d, k, r):
    return 100 * (d * r + r * k) / (d * k)


@wrong("lora_size", "as large as W0")
def break_even(d, k, r):
    return d * k // (d + k)
