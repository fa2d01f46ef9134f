"""Wrong answers to the exercises of notebook 08, as people write them."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn

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


# merge_head


@wrong("merge_head", "both are one tensor")
@torch.no_grad()
def in_place(model, A, B, scaling):
    model.head.weight += scaling * B @ A
    model.config.tie_word_embeddings = False


@wrong("merge_head", "both are one tensor")
def through_data(model, A, B, scaling):
    model.head.weight.data += scaling * (B @ A).to(model.head.weight.dtype)


@wrong("merge_head", "merged into the embedding")
@torch.no_grad()
def into_the_embedding(model, A, B, scaling):
    embedding = model.embedding.weight
    model.embedding.weight = nn.Parameter((embedding + scaling * B @ A).to(embedding.dtype), requires_grad=False)
    model.config.tie_word_embeddings = False


@wrong("merge_head", "the head is as it was")
def untied_alone(model, A, B, scaling):
    model.head.weight = nn.Parameter(model.head.weight.detach().clone(), requires_grad=False)
    model.config.tie_word_embeddings = False


@wrong("merge_head", "the head is as it was")
def returned(model, A, B, scaling):
    return model.head.weight + scaling * B @ A


def into_a_copy(update, trainable=False, tell=True, cast=True):
    """An answer that gives the head a copy of its weight and adds `update(A, B, scaling, W0)` to it in fp32."""

    def answer(model, A, B, scaling):
        W0 = model.head.weight.detach()
        merged = W0.float() + update(A, B, scaling, W0)
        model.head.weight = nn.Parameter(merged.to(W0.dtype) if cast else merged, requires_grad=trainable)
        if tell:
            model.config.tie_word_embeddings = False

    return answer


for label, fragment, answer in (
    ("unscaled", "left the scaling out", into_a_copy(lambda A, B, s, W0: B @ A)),
    ("minus", "subtracted the update", into_a_copy(lambda A, B, s, W0: -s * B @ A)),
    ("update alone", "the update alone", into_a_copy(lambda A, B, s, W0: s * torch.mm(B, A) - W0)),
    ("not told", "still True", into_a_copy(lambda A, B, s, W0: s * B @ A, tell=False)),
    ("trainable", "is trainable now", into_a_copy(lambda A, B, s, W0: s * B @ A, trainable=True)),
    ("in float32", "in float32 now", into_a_copy(lambda A, B, s, W0: s * B @ A, cast=False)),
):
    bank.add("merge_head", label, fragment, answer)


@wrong("merge_head", "rounded the update")
def added_in_half(model, A, B, scaling):
    W0 = model.head.weight.detach().clone()
    W0 += (scaling * B @ A).type_as(W0)
    model.head.weight = nn.Parameter(W0, requires_grad=False)
    model.config.tie_word_embeddings = False


# frozen_base


class Written(nn.Module):
    """A layer that its subclasses get wrong in one place."""

    def __init__(self, base, r):
        super().__init__()
        self.base = base
        self.A = nn.Parameter(torch.empty(r, base.weight.shape[1]).normal_())
        self.B = nn.Parameter(torch.zeros(base.weight.shape[0], r))

    def forward(self, x):
        return self.base(x) + nn.functional.linear(nn.functional.linear(x, self.A), self.B)


@wrong("frozen_base", "still gets gradients")
class AttributeOfTheModule(Written):
    def __init__(self, base, r):
        super().__init__(base, r)
        self.base.requires_grad = False


@wrong("frozen_base", "still gets gradients")
class EvaluationMode(Written):
    def __init__(self, base, r):
        super().__init__(base.eval(), r)


@wrong("frozen_base", "bias is still trained")
class WeightByName(Written):
    def __init__(self, base, r):
        super().__init__(base, r)
        for name, p in self.base.named_parameters():
            p.requires_grad = name != "weight"


@wrong("frozen_base", "froze A and B as well")
class AllParameters(Written):
    def __init__(self, base, r):
        super().__init__(base, r)
        for p in self.parameters():
            p.requires_grad = False


@wrong("frozen_base", "cuts the gradient")
class NoGrad(Written):
    def forward(self, x):
        with torch.no_grad():
            h = self.base(x)
        return h + x @ self.A.T @ self.B.T


@wrong("frozen_base", "cuts the gradient")
class Detached(Written):
    def __init__(self, base, r):
        super().__init__(base.requires_grad_(False), r)

    def forward(self, x):
        return self.base(x).detach() + x @ self.A.T @ self.B.T


@wrong("frozen_base", "base is a copy")
class FrozenCopy(Written):
    def __init__(self, base, r):
        super().__init__(copy.deepcopy(base).requires_grad_(False), r)


@wrong("frozen_base", "both A and B are zero")
class BothZero(Written):
    def __init__(self, base, r):
        super().__init__(base.requires_grad_(False), r)
        nn.init.zeros_(self.A)


@wrong("frozen_base", "B is not zero")
class BothRandom(Written):
    def __init__(self, base, r):
        super().__init__(base.requires_grad_(False), r)
        nn.init.normal_(self.B, std=0.02)


@wrong("frozen_base", "lost the base's bias")
class WithoutBias(Written):
    def __init__(self, base, r):
        super().__init__(base.requires_grad_(False), r)

    def forward(self, x):
        return x @ (self.base.weight + self.B @ self.A).T
