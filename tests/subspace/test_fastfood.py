"""The Walsh-Hadamard transform against scipy's matrix, and P against the product of its factors, formed densely."""

import math
import os
import subprocess
import sys

import pytest
import torch
from scipy.linalg import hadamard
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from lorabook.errors import SettingError
from lorabook.memory.counter import StorageCounter
from lorabook.subspace import fastfood
from lorabook.subspace.fastfood import FastfoodProjection, butterfly, fwht
from lorabook.subspace.projection import DenseProjection

SIZES = [(5, 37), (16, 64), (64, 64), (1, 1), (3, 200), (60, 33)]  # (d, D)
BOTH = pytest.mark.parametrize("kind", [FastfoodProjection, DenseProjection])


def random(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def scipy_hadamard(n: int) -> Tensor:
    return torch.tensor(hadamard(n), dtype=torch.float64)


def matrix(projection, dtype: torch.dtype = torch.float64) -> Tensor:
    """P, D x d, a column for each unit vector of R^d."""
    return projection(torch.eye(projection.d, dtype=dtype)).T


# The transform


@pytest.mark.parametrize("n", [1, 2, 4, 8, 32, 64, 2048])
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 5), (0,)], ids=str)
def test_fwht_is_a_product_with_scipys_matrix(n, batch):
    x = random(*batch, n)
    torch.testing.assert_close(fwht(x), x @ scipy_hadamard(n), atol=1e-10, rtol=0)
    torch.testing.assert_close(fwht(x.float()).double(), x @ scipy_hadamard(n), atol=1e-4, rtol=1e-5)


def test_the_fast_transform_is_the_butterfly():
    for n in (1, 2, 64, 2**15):
        x = torch.randn(3, 2, n, dtype=torch.float64)
        torch.testing.assert_close(fwht(x), butterfly(x), atol=1e-10, rtol=0)
        if n <= 64:
            torch.testing.assert_close(butterfly(x), x @ scipy_hadamard(n), atol=1e-10, rtol=0)


@pytest.mark.parametrize("radix_bits", [1, 2, 3, 5])
@pytest.mark.parametrize("block", [64, 256])
def test_every_way_to_cut_the_transform_gives_the_same(block, radix_bits, monkeypatch):
    monkeypatch.setattr(fastfood, "BLOCK", block)
    monkeypatch.setattr(fastfood, "RADIX_BITS", radix_bits)
    for n in (block // 2, block, 2 * block, 8 * block):
        x = random(3, n)
        torch.testing.assert_close(fwht(x), x @ scipy_hadamard(n), atol=1e-10, rtol=0)


def test_twice_is_n_times_and_scaled_by_the_root_it_is_its_own_inverse():
    n = 2 * fastfood.BLOCK
    x = random(n)
    torch.testing.assert_close(fwht(fwht(x)), n * x)
    torch.testing.assert_close(fwht(fwht(x) / math.sqrt(n)) / math.sqrt(n), x)


def test_a_strided_input_is_read_right_and_left_alone():
    x = random(8, 6, 4).transpose(0, 2)
    before = x.clone()
    torch.testing.assert_close(fwht(x), before @ scipy_hadamard(8))
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_other_dtypes_are_computed_in_fp32(dtype):
    x = torch.full((1024,), 100).to(dtype)
    assert fwht(x).dtype == torch.float32 and fwht(x)[0] == 102_400  # above the largest fp16 number


def test_autocast_lowers_no_precision():
    x = random(64, dtype=torch.float32)
    for map in (fwht, FastfoodProjection(64, 100), DenseProjection(64, 100)):
        with torch.autocast("cpu", torch.bfloat16):
            under_autocast = map(x)
        assert under_autocast.dtype == torch.float32 and torch.equal(under_autocast, map(x))


def test_gradients_of_the_transform_to_second_order():
    x = random(3, 16).requires_grad_()
    assert gradcheck(fwht, x) and gradgradcheck(lambda x: fwht(x) ** 3, x)
    w = random(3, 16, seed=1)
    assert torch.equal(torch.autograd.grad(fwht(x), x, w)[0], fwht(w))


@pytest.mark.parametrize("shape", [(3,), (4, 6), (4, 0), ()], ids=str)
def test_a_length_that_is_no_power_of_two_is_refused(shape):
    with pytest.raises(SettingError, match="not a power of two"):
        fwht(torch.zeros(shape))


# The projection


def dense_fastfood(p: FastfoodProjection) -> Tensor:
    """crop(H G Pi H B pad) / c from scipy's H and the factors that `p` holds."""
    H, G = scipy_hadamard(p.L), torch.diag(p.G.double())
    Pi = torch.eye(p.L, dtype=torch.float64)[torch.argsort(p.inverse)]
    B = torch.diag(p.B.double())
    return (H @ G @ Pi @ H)[: p.D, : p.d] @ B / math.sqrt(p.D * p.G.double().square().sum())


@pytest.mark.parametrize("d, D", SIZES)
@pytest.mark.parametrize("signs", [False, True])
def test_it_is_the_product_of_its_factors(d, D, signs):
    p = FastfoodProjection(d, D, seed=3, signs=signs)
    expected = dense_fastfood(p)
    torch.testing.assert_close(matrix(p), expected, atol=1e-12, rtol=0)
    torch.testing.assert_close(p.adjoint(random(4, D)), random(4, D) @ expected, atol=1e-12, rtol=1e-12)
    assert p(random(d).float()).dtype == torch.float32
    torch.testing.assert_close(p(random(d).float()).double(), expected @ random(d), atol=1e-5, rtol=1e-5)


def test_the_factors_are_what_they_are_called():
    p = FastfoodProjection(3000, 4096)
    assert set(p.B.tolist()) == {-1.0, 1.0} and abs(p.B.mean()) < 0.1
    assert torch.equal(p.inverse.sort().values, torch.arange(4096, dtype=torch.int32))
    assert abs(p.G.mean()) < 0.1 and abs(p.G.std() - 1) < 0.1 and len(p.G.unique()) > 4000
    assert set(FastfoodProjection(8, 64, signs=True).G.tolist()) == {-1.0, 1.0}


@BOTH
@pytest.mark.parametrize("d, D", SIZES[:5])
def test_the_adjoint_is_the_transpose(kind, d, D):
    p = kind(d, D, seed=1)
    v, w = random(7, d), random(7, D, seed=1)
    left, right = (p(v) * w).sum(-1), (v * p.adjoint(w)).sum(-1)
    torch.testing.assert_close(left, right, atol=1e-12, rtol=1e-12)


@BOTH
def test_it_is_linear_and_takes_any_batch(kind):
    p = kind(20, 50)
    v, u = random(2, 3, 20), random(2, 3, 20, seed=1)
    torch.testing.assert_close(p(2 * v - 3 * u), 2 * p(v) - 3 * p(u), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(p(v)[1, 2], p(v[1, 2]), atol=1e-12, rtol=1e-12)


@BOTH
def test_autograd_gives_the_adjoint_and_can_be_differentiated_again(kind):
    p = kind(6, 21, seed=2)
    theta, w = random(2, 6).requires_grad_(), random(2, 21, seed=1).requires_grad_()
    assert gradcheck(p, theta) and gradcheck(p.adjoint, w)
    assert gradgradcheck(lambda t: p(t) ** 3, theta) and gradgradcheck(lambda t: p.adjoint(t) ** 3, w)
    assert torch.equal(torch.autograd.grad(p(theta), theta, w)[0], p.adjoint(w))
    assert torch.equal(torch.autograd.grad(p.adjoint(w), w, theta)[0], p(theta))


def test_rows_and_columns_have_one_norm_and_singular_values_are_those_of_g():
    """Before truncation, so with d = D = L: H G Pi H B is far from orthogonal, however even its rows and columns."""
    L = 256
    p = FastfoodProjection(L, L)
    M, G = matrix(p) * p.c, p.G.double()
    norm = math.sqrt(L) * G.norm()
    for dim in (0, 1):
        torch.testing.assert_close(M.norm(dim=dim), norm.expand(L), rtol=1e-13, atol=0)
    expected = (L * G.abs()).sort(descending=True).values
    torch.testing.assert_close(torch.linalg.svdvals(M), expected, rtol=1e-9, atol=1e-9)
    assert expected[0] / expected[-1] > 50


def test_columns_have_unit_length():
    torch.testing.assert_close(matrix(FastfoodProjection(64, 512)).norm(dim=0), torch.ones(64).double())
    torch.testing.assert_close(matrix(DenseProjection(64, 500)).norm(dim=0), torch.ones(64).double(), atol=1e-6, rtol=0)
    norms = matrix(FastfoodProjection(64, 2100)).norm(dim=0)
    assert abs(norms.mean() - 1) < 0.005 and norms.min() > 0.9 and norms.max() < 1.1


def test_lengths_are_kept_on_average():
    v = random(20)
    v /= v.norm()
    lengths = torch.stack([FastfoodProjection(20, 200, seed)(v).square().sum() for seed in range(400)])
    assert abs(lengths.mean() - 1) < 0.03 and 0.06 < lengths.std() < 0.24


@pytest.mark.parametrize("D, signs, rms", [(4096, False, 0.0221), (2100, False, 0.0275), (2100, True, 0.0152)])
def test_columns_are_nearly_orthogonal(D, signs, rms):
    d = 64
    P = matrix(FastfoodProjection(d, D, signs=signs))
    off = (P.T @ P)[~torch.eye(d, dtype=torch.bool)]
    assert off.square().mean().sqrt() == pytest.approx(rms, rel=0.15) and off.abs().max() < 0.2
    values = torch.linalg.svdvals(P)
    assert values.min() > 0.6 and values.max() < 1.5
    dense = matrix(DenseProjection(d, D))
    off = (dense.T @ dense)[~torch.eye(d, dtype=torch.bool)]
    assert off.square().mean().sqrt() == pytest.approx(1 / math.sqrt(D), rel=0.15)


def test_with_signs_for_g_the_columns_are_orthonormal():
    P = matrix(FastfoodProjection(64, 1024, signs=True))
    torch.testing.assert_close(P.T @ P, torch.eye(64).double(), atol=1e-12, rtol=0)


def test_a_projection_for_each_of_m_tensors_has_columns_of_length_root_m():
    parts = [FastfoodProjection(8, 128, seed) for seed in range(5)]
    columns = torch.cat([matrix(p) for p in parts]).norm(dim=0)
    torch.testing.assert_close(columns, torch.full((8,), math.sqrt(5)).double())


def test_a_smaller_subspace_lies_inside_a_larger_one():
    large = matrix(FastfoodProjection(100, 300, seed=5))
    for d in (1, 7, 64, 65):
        torch.testing.assert_close(matrix(FastfoodProjection(d, 300, seed=5)), large[:, :d], atol=1e-14, rtol=0)


# Seeds, memory, refusals

PRINT = """
import sys
import torch
from lorabook.subspace.fastfood import FastfoodProjection
from lorabook.subspace.projection import DenseProjection
ramp = torch.arange(1, 41) / 7
for p in (FastfoodProjection(40, 5000, 11), DenseProjection(40, 5000, 11)):
    sys.stdout.write(p(ramp).numpy().tobytes().hex() + " ")
"""


@pytest.mark.seconds
def test_the_same_in_a_fresh_process_and_the_global_random_state_is_left_alone():
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run([sys.executable, "-c", PRINT], env=environment, check=True, capture_output=True, text=True)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    ramp = torch.arange(1, 41) / 7
    for kind, theirs in zip((FastfoodProjection, DenseProjection), done.stdout.split()):
        assert kind(40, 5000, 11)(ramp).numpy().tobytes().hex() == theirs
        assert not torch.allclose(kind(40, 5000, 12)(ramp), kind(40, 5000, 11)(ramp))
    assert torch.equal(torch.get_rng_state(), before)


@BOTH
def test_nothing_is_saved_since_the_seed_and_sizes_say_it_all(kind):
    p = kind(4, 30, seed=9)
    assert p.state_dict() == {} and list(p.parameters()) == [] and "seed=9" in repr(p)
    assert torch.equal(kind(p.d, p.D, p.seed)(torch.ones(4)), p(torch.ones(4)))
    assert torch.equal(kind(4, 30)(torch.ones(4)), kind(4, 30, seed=0)(torch.ones(4))), "the seed not given is 0"


@pytest.mark.parametrize("d", [10, 1000, 60_000])
def test_memory_is_some_vectors_of_length_l_whatever_d(d):
    D, L = 60_000, 2**16
    with StorageCounter() as counter:
        p = FastfoodProjection(d, D)
        built, held = counter.peak, counter.live
        theta = torch.zeros(d, requires_grad=True)
        p(theta).sum().backward()
        p.adjoint(torch.ones(D))
    assert held <= 12 * L + 4 * d + 1024 and built <= 40 * L and counter.peak <= 48 * L  # bytes
    assert d * D * 4 > counter.peak or d == 10


def test_what_cannot_be_projected_is_refused():
    FastfoodProjection(64, 33)  # L = 64: allowed, if pointless
    with pytest.raises(SettingError, match="d is 65, more than L = 64"):
        FastfoodProjection(65, 33)
    for wrong in (0, -1, 2.0, True):
        for kind in (FastfoodProjection, DenseProjection):
            with pytest.raises(SettingError, match="dimension d is"):
                kind(wrong, 33)
            with pytest.raises(SettingError, match="dimension D is"):
                kind(1, wrong)


@BOTH
def test_the_meta_device_gives_shapes(kind):
    p = kind(5, 20).to("meta")
    assert p(torch.zeros(2, 5, device="meta")).shape == (2, 20) and p.adjoint(torch.zeros(20, device="meta")).shape == (
        5,
    )


@BOTH
def test_a_vector_of_another_length_is_refused_not_cropped(kind):
    p = kind(5, 20)
    for wrong in (torch.zeros(6), torch.zeros(4), torch.zeros(5, 1), torch.tensor(0.0)):
        with pytest.raises(SettingError, match="d = 5"):
            p(wrong)
        with pytest.raises(SettingError, match="D = 20"):
            p.adjoint(wrong)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@BOTH
def test_a_gpu_projects_as_the_cpu_does(kind):
    p = kind(50, 3000)
    up, down = p(random(50)), p.adjoint(random(3000))
    p.to("cuda")
    torch.testing.assert_close(p(random(50).cuda()).cpu(), up)
    torch.testing.assert_close(p.adjoint(random(3000).cuda()).cpu(), down)
    torch.testing.assert_close(fwht(random(2, 2**20).cuda()).cpu(), fwht(random(2, 2**20)))
