"""Right answers to the exercises of notebook 01, as people write them."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


# lora_forward


@right("lora_forward")
def by_linear(x, W, A, B, alpha, p, training):
    scaling = alpha / A.size(0)
    return F.linear(x, W) + scaling * F.linear(F.linear(F.dropout(x, p=p, training=training), A), B)


@right("lora_forward")
def by_einsum(x, W, A, B, alpha, p, training):
    dropped = nn.Dropout(p).train(training)(x)
    update = torch.einsum("...k,rk,dr->...d", dropped, A, B)
    return torch.einsum("...k,dk->...d", x, W) + alpha / len(A) * update


@right("lora_forward")
def product_formed(x, W, A, B, alpha, p, training):
    return x @ W.mT + F.dropout(x, p, training) @ (alpha / B.shape[1] * B @ A).mT


@right("lora_forward")
def scaled_before_b(x, W, A, B, alpha, p, training):
    z = F.dropout(x, p, training) @ A.T
    z = z * alpha / A.shape[0]
    h = x @ W.T
    h += z @ B.T
    return h


@right("lora_forward")
def in_double_precision(x, W, A, B, alpha, p, training):
    dropped = F.dropout(x, p, training).double()
    h = x.double() @ W.double().T + (alpha / len(A)) * (dropped @ A.double().T @ B.double().T)
    return h.to(x.dtype)


@right("lora_forward")
def output_by_output(x, W, A, B, alpha, p, training):
    dropped = F.dropout(x, p, training)
    update = torch.stack([(dropped * (B[i] @ A)).sum(-1) for i in range(len(B))], dim=-1)
    return torch.stack([(x * W[i]).sum(-1) for i in range(len(W))], dim=-1) + alpha * update / len(A)


@right("lora_forward")
def a_mask_of_its_own(x, W, A, B, alpha, p, training):
    kept = x
    if training and p > 0:
        kept = x * torch.bernoulli(torch.full_like(x, 1 - p)) / (1 - p)
    return x @ W.T + (alpha / A.shape[0]) * (kept @ A.T @ B.T)


@right("lora_forward")
def a_mask_by_rand(x, W, A, B, alpha, p, training):
    keep = (torch.rand(x.shape, dtype=x.dtype) >= p) / (1 - p)
    return x @ W.mT + F.linear(F.linear(x * keep if training else x, A), B) * alpha / len(A)


# lora_merge


@right("lora_merge")
def without_an_early_return(W, A, B, alpha, merged):
    update = 0 if merged else alpha / len(A) * torch.mm(B, A)
    return (W.clone() + update).to(W)


@right("lora_merge")
def in_fp32_step_by_step(W, A, B, alpha, merged):
    total = W.detach().clone()
    if not merged:
        wide = total.float() if W.dtype == torch.float16 else total
        wide += (alpha / B.shape[1]) * B @ A
        total = wide.type(W.dtype)
    return total


@right("lora_merge")
def by_einsum_of_factors(W, A, B, alpha, merged):
    if merged:
        return W.clone()
    return (W + torch.einsum("dr,rk->dk", B, A) * alpha / A.size(0)).to(dtype=W.dtype)


@right("lora_merge")
def rank_one_by_rank_one(W, A, B, alpha, merged):
    if merged:
        return W
    total = W.to(torch.promote_types(W.dtype, A.dtype), copy=True)
    for i in range(len(A)):
        total = total + alpha / len(A) * torch.outer(B[:, i], A[i])
    return total.to(W.dtype)


@right("lora_merge")
def in_fp64(W, A, B, alpha, merged):
    return W if merged else (W.double() + alpha / len(A) * (B @ A).double()).to(W)


@right("lora_merge")
def by_addmm(W, A, B, alpha, merged):
    return W if merged else torch.addmm(W.to(B.dtype), B, A, alpha=alpha / len(A)).to(W.dtype)


# lora_embedding


@right("lora_embedding")
class ByFunction(nn.Module):
    def __init__(self, base, r, alpha, p):
        super().__init__()
        base.weight.requires_grad = False
        self.embedding, self.alpha, self.r = base, alpha, r
        self.A = nn.Parameter(torch.zeros(r, base.weight.shape[0]))
        self.B = nn.Parameter(torch.empty(base.weight.shape[1], r))
        nn.init.normal_(self.B)

    def forward(self, tokens):
        update = F.embedding(tokens, self.A.T) @ self.B.T
        return F.embedding(tokens, self.embedding.weight) + update * self.alpha / self.r


@right("lora_embedding")
class WeightFormed(nn.Module):
    def __init__(self, base, r, alpha, p):
        super().__init__()
        for parameter in base.parameters():
            parameter.requires_grad_(False)
        self.base, self.scaling = base, alpha / r
        width, vocabulary = base.embedding_dim, base.num_embeddings
        self.A = nn.Parameter(torch.zeros((r, vocabulary)))
        self.B = nn.Parameter(torch.randn((width, r)))

    def forward(self, tokens):
        return (self.base.weight + self.scaling * (self.B @ self.A).T)[tokens]


@right("lora_embedding")
class ByOneHot(nn.Module):
    def __init__(self, base, r, alpha, p):
        super().__init__()
        self.register_buffer("W0", base.weight.detach().clone())
        self.r, self.alpha = r, alpha
        self.register_parameter("A", nn.Parameter(torch.zeros(r, base.num_embeddings)))
        self.register_parameter("B", nn.Parameter(torch.normal(0.0, 1.0, (base.embedding_dim, r))))

    def forward(self, tokens):
        x = F.one_hot(tokens, self.A.shape[1]).float()
        return x @ self.W0 + (self.alpha / self.r) * x @ self.A.T @ self.B.T


@right("lora_embedding")
class ByColumns(nn.Module):
    def __init__(self, base, r, alpha, p):
        super().__init__()
        self.base = base
        self.base.requires_grad_(False)
        self.scale = alpha / r
        self.A = nn.Parameter(torch.zeros(r, len(base.weight)))
        self.B = nn.Parameter(torch.randn(base.weight.size(1), r))

    def forward(self, tokens):
        columns = self.A[:, tokens]  # (r, ...)
        return self.base(tokens) + self.scale * torch.einsum("dr,r...->...d", self.B, columns)


# tree_shapes

shapes = {
    "c_attn.weight": (2304, 2048),
    "c_attn.A": (16, 2048),
    "c_attn.B": (2304, 16),
    "mlp.c_proj.A": (16, 8192),
    "mlp.c_proj.B": (2048, 16),
    "wte.A": (16, 49152),
    "wte.B": (2048, 16),
    "modules hit by c_proj": 48,
    "modules adapted": 98,
    "parameters of wte and lm_head": 100_663_296,
}
add("tree_shapes", "numbers", shapes)
add("tree_shapes", "lists", {key: list(v) if isinstance(v, tuple) else v for key, v in shapes.items()})
add("tree_shapes", "sizes", {key: torch.Size(v) if isinstance(v, tuple) else float(v) for key, v in shapes.items()})
add("tree_shapes", "arrays", {key: np.array(v) for key, v in shapes.items()})
add("tree_shapes", "tensors", {key: torch.tensor(v) for key, v in shapes.items()})
