"""Fastfood: a random projection from R^d up to R^D that is never formed (Le, Sarlós and Smola 2013, arXiv 1408.3060).

    P = crop(H G Pi H B pad) / c        pad: R^d -> R^L     crop: R^L -> R^D     L: the least power of two >= D

with B diagonal of random signs, H the Walsh-Hadamard matrix of size L, Pi a random permutation and G diagonal Gaussian.
It holds O(L) numbers and costs O(L log L), whatever d; a dense P costs d * D: 14.4 GiB in fp32 for d = 1,000 and
D = 3.88 million. Used from d up to D, as here, it pads to one block of size L and leaves out the paper's S, which gives
the rows of a kernel's feature map their lengths (Aghajanyan et al. 2020, arXiv 2012.13255, use it so).

Before the crop every column of H G Pi H B has the norm sqrt(L * sum(G^2)). A share of D / L of its entries is kept, so
c = sqrt(D * sum(G^2)) gives P columns of unit length: exactly where D = L, otherwise on average.
"""

import functools
import math

import torch
from torch import Tensor, nn

from lorabook.errors import SettingError
from lorabook.subspace.projection import Projection, linear_map


def butterfly(x: Tensor) -> Tensor:
    """The Walsh-Hadamard transform H x along the last axis, as every textbook has it: log2(n) rounds of additions."""
    for i in range(x.shape[-1].bit_length() - 1):
        pairs = x.unflatten(-1, (-1, 2, 2**i))  # (..., n) -> (..., n / 2^(i+1), 2, 2^i)
        a, b = pairs[..., 0, :], pairs[..., 1, :]
        x = torch.stack([a + b, a - b], -2).flatten(-3)
    return x


# `fwht` computes the same in fewer passes over memory. H of size n = a b is a Kronecker product, H_n = H_a ⊗ H_b. So
# write the n numbers into a matrix X of a rows and b columns, row by row:
#
#         x_0   x_1   ...  x_(b-1)         H_n x  =  H_a X H_b
#         x_b   x_(b+1) ...
#         ...                              H_a adds rows of X, H_b adds numbers within a row
#
# H_b again is a product of smaller ones, and so on. Each pass is a matrix product with a Hadamard matrix of at most
# 32 x 32, which does the work of five rounds of the butterfly. Rows of more than 2^18 numbers are first transformed
# across blocks (H_a), then block by block (H_b), since a block stays in the processor's cache.

RADIX_BITS = 5  # the largest small Hadamard matrix is 32 x 32
FIRST_RADIX = 16  # at least, across blocks: no dearer than a smaller one, and fewer bits are left to the blocks
BLOCK = 2**18  # elements transformed together, 1 MiB in fp32: what a processor core keeps near


def fwht(x: Tensor) -> Tensor:
    """The Walsh-Hadamard transform H x along the last axis, unscaled: `fwht(fwht(x))` is n x.

    H of size n is `scipy.linalg.hadamard(n)`: entries +1 and -1, symmetric, H H = n I. It is never formed.

    Args:
        x: shape (..., n), n a power of two. float64 stays float64; everything else is computed in float32, since a sum
            of n float16 numbers soon passes float16's largest. A matrix precision lowered by
            `torch.set_float32_matmul_precision` lowers that of this transform too.

    Returns:
        The transform, shape (..., n). Differentiable any number of times; the gradient is again `fwht`.

    Raises:
        SettingError: n is not a power of two.
    """
    n = x.shape[-1] if x.ndim else 0
    if n < 1 or n & (n - 1):
        raise SettingError(
            f"The last axis has {n} elements, which is not a power of two.",
            "Pad it with zeros to the next power of two.",
        )
    return linear_map(x, _transform, _transform)


@functools.lru_cache
def _hadamard(bits: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    h = torch.ones(1, 1, dtype=dtype, device=device)
    for _ in range(bits):
        h = torch.cat([torch.cat([h, h], 1), torch.cat([h, -h], 1)])
    return h


def _transform(x: Tensor) -> Tensor:
    """`fwht` itself: H along the last axis of `x`, whose length is a power of two."""
    n = x.shape[-1]
    rows = x.reshape(-1, n).contiguous()  # (..., n) -> (m, n)
    out = torch.empty_like(rows)
    block = n
    if n > BLOCK:  # H_n = H_a ⊗ H_block: first H_a across the blocks of each row, then every block in place
        a = min(max(n // BLOCK, FIRST_RADIX), 2**RADIX_BITS)
        block = n // a
        h = _hadamard(a.bit_length() - 1, x.dtype, x.device)
        for row, result in zip(rows, out):
            torch.mm(h, row.view(a, block), out=result.view(a, block))
        rows = out.view(-1, block)
    together = max(1, BLOCK // rows.shape[1])
    scratch = torch.empty_like(rows[:together])  # one for all blocks: fresh memory costs more than a pass over it
    for source, result in zip(rows.split(together), out.view(-1, block).split(together)):
        _transform_block(source, result, scratch[: len(source)])
    return out.view(x.shape)


def _transform_block(x: Tensor, out: Tensor, scratch: Tensor) -> None:
    """Write H x for the rows of `x`, shape (m, n), to `out`, which may be `x` itself, by way of `scratch`."""
    lead, rest = x.shape
    bits = rest.bit_length() - 1
    passes = max(1, -(-bits // RADIX_BITS))
    if x.data_ptr() == out.data_ptr():
        passes += passes % 2  # an even number of passes by way of `scratch` ends where it began
    for i in range(passes):
        radix_bits = (bits + i) // passes
        radix = 2**radix_bits
        h = _hadamard(radix_bits, x.dtype, x.device)
        target = out if (passes - i) % 2 else scratch
        rest //= radix  # (lead, radix, rest): the digit in the middle is transformed
        if rest > 1:
            shape = lead, radix, rest
            torch.bmm(h.expand(lead, radix, radix), x.view(shape), out=target.view(shape))
        else:
            torch.mm(x.view(-1, radix), h, out=target.view(-1, radix))
        x, lead = target, lead * radix


class FastfoodProjection(Projection):
    """P = crop(H G Pi H B pad) / c, the projection of this file's head: `forward` applies P, `adjoint` its transpose.

    What defines it is (d, D, seed): the factors are drawn in the order B, Pi, G by a generator of its own on the CPU,
    so they are the same on every device, and the global random state is left alone. They do not depend on d: the
    columns for a smaller d are the first columns for a larger one. Factors are buffers that are not saved; they take
    12 L + 4 d bytes.

    Args:
        d: dimension of the subspace, at most L.
        D: dimension of the space projected into.
        seed: of the generator.
        signs: draw G as signs, not as Gaussian numbers. With D = L the columns are then orthonormal (the subsampled
            randomised Hadamard transform).

    Shapes: `forward` (..., d) -> (..., D), `adjoint` (..., D) -> (..., d). float64 stays float64, everything else is
    computed in float32. Both are differentiable any number of times, and each is the other's backward pass.

    Raises:
        SettingError: d > L, or a size below 1; a vector of another length than d or D.
    """

    B: Tensor
    G: Tensor
    gather: Tensor
    inverse: Tensor

    def __init__(self, d: int, D: int, seed: int = 0, *, signs: bool = False):
        super().__init__(d, D, seed)
        L = _power_of_two(D)
        if d > L:
            raise SettingError(
                f"d is {d:,}, more than L = {L:,}, the power of two that D = {D:,} is padded to.",
                "Choose d of at most D: a subspace has no more dimensions than its space.",
            )
        self.L = L
        self.small = _power_of_two(d)
        generator = torch.Generator("cpu").manual_seed(seed)
        B = _signs(L, generator)
        Pi = torch.randperm(L, generator=generator, device="cpu")
        G = _signs(L, generator) if signs else torch.randn(L, generator=generator, device="cpu")
        # In two steps, each small enough for one thread, so that the number of threads does not change the sum.
        squares = G.double().square().view(-1, min(L, 2048)).sum(1).sum()
        self.c = math.sqrt(D * squares.item())
        inverse = torch.empty_like(Pi)
        inverse[Pi] = torch.arange(L, device="cpu")
        index = torch.int32 if L <= 2**31 else torch.int64
        self.register_buffer("B", B[:d].clone(), persistent=False)
        self.register_buffer("G", G, persistent=False)
        self.register_buffer("gather", (Pi % self.small).to(index), persistent=False)
        self.register_buffer("inverse", inverse.to(index), persistent=False)

    # All but the first d' = `small` of the L entries that the first H meets are zero, and H_L = H_m ⊗ H_d'. So that H
    # is H_d' on those entries, repeated m times over, and Pi may gather from the one copy. Transposed: sum the copies.

    def up(self, theta: Tensor) -> Tensor:
        z = theta * (self.B.to(theta.dtype) / self.c)
        z = _transform(nn.functional.pad(z, (0, self.small - self.d)))
        z = _select(z, self.gather).mul_(self.G)  # (..., d') -> (..., L)
        return _transform(z)[..., : self.D]

    def down(self, w: Tensor) -> Tensor:
        z = _transform(nn.functional.pad(w, (0, self.L - self.D))).mul_(self.G)
        z = _select(z, self.inverse).unflatten(-1, (-1, self.small)).sum(-2)  # (..., L) -> (..., d')
        return _transform(z)[..., : self.d] * (self.B.to(w.dtype) / self.c)


def _power_of_two(n: int) -> int:
    """The least power of two that is at least n."""
    return 1 << (n - 1).bit_length()


def _signs(n: int, generator: torch.Generator) -> Tensor:
    return torch.randint(0, 2, (n,), generator=generator, device="cpu").mul_(2).sub_(1).float()


def _select(x: Tensor, index: Tensor) -> Tensor:
    return torch.index_select(x, -1, index)
