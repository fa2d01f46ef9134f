"""Right answers to the exercises of notebook 06, as people write them."""

import torch
import torch.nn.functional as F
from scipy.linalg import hadamard

from lorabook.subspace import fastfood
from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


# fwht


@right("fwht")
def recursive(x):
    if len(x) == 1:
        return x.clone()
    a, b = recursive(x[: len(x) // 2]), recursive(x[len(x) // 2 :])
    return torch.cat([a + b, a - b])


@right("fwht")
def stages_by_view(x):
    n, h = len(x), 1
    while h < n:
        pairs = x.view(-1, 2, h)
        x = torch.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], dim=1).reshape(n)
        h *= 2
    return x.clone()


@right("fwht")
def number_by_number(x):
    values, h = x.tolist(), 1
    while h < len(values):
        for i in range(0, len(values), 2 * h):
            for j in range(i, i + h):
                values[j], values[j + h] = values[j] + values[j + h], values[j] - values[j + h]
        h = 2 * h
    return torch.tensor(values, dtype=x.dtype)


@right("fwht")
def by_the_matrix(x):
    return torch.from_numpy(hadamard(len(x))).to(x.dtype) @ x


@right("fwht")
def by_kronecker_factors(x):
    H = torch.ones(1, 1, dtype=x.dtype)
    while len(H) < len(x):
        H = torch.kron(torch.tensor([[1, 1], [1, -1]], dtype=x.dtype), H)
    return H @ x


@right("fwht")
def largest_distance_first(x):
    y = x.clone()
    h = len(y) // 2
    while h >= 1:
        y = y.reshape(-1, 2, h)
        y = torch.cat([y[:, :1] + y[:, 1:], y[:, :1] - y[:, 1:]], dim=1).flatten()
        h //= 2
    return y


@right("fwht")
def by_einsum(x):
    n = len(x)
    bits = n.bit_length() - 1
    y = x.reshape([2] * bits) if bits else x.clone()
    H = torch.tensor([[1.0, 1], [1, -1]], dtype=x.dtype)
    for axis in range(bits):
        y = torch.tensordot(H, y, dims=([1], [axis])).movedim(0, axis)
    return y.reshape(n)


# fastfood_adjoint


@right("fastfood_adjoint")
def inverse_by_argsort(w, B, Pi, G, d, c):
    z = F.pad(w, (0, G.numel() - w.numel())) / c
    z = fastfood.fwht(z) * G
    z = z[torch.argsort(Pi)]
    return (fastfood.fwht(z) * B)[:d]


@right("fastfood_adjoint")
def by_autograd(w, B, Pi, G, d, c):
    theta = torch.zeros(d, dtype=w.dtype, requires_grad=True)
    z = fastfood.fwht(B * F.pad(theta, (0, len(B) - d)))[Pi]
    z = fastfood.fwht(G * z)[: len(w)] / c
    (gradient,) = torch.autograd.grad(z, theta, w)
    return gradient


@right("fastfood_adjoint")
def by_scatter(w, B, Pi, G, d, c):
    L = len(G)
    padded = torch.cat([w, w.new_zeros(L - len(w))])
    z = G * fastfood.fwht(padded)
    y = torch.zeros(L, dtype=w.dtype).scatter_(0, Pi, z)
    return B[:d] * fastfood.fwht(y)[:d] / c


@right("fastfood_adjoint")
def by_the_dense_matrix(w, B, Pi, G, d, c):
    columns = []
    for i in range(d):
        z = torch.zeros(len(B), dtype=w.dtype)
        z[i] = 1
        z = fastfood.fwht(G * fastfood.fwht(B * z)[Pi])
        columns.append(z[: len(w)] / c)
    return torch.stack(columns) @ w
