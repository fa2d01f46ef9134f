"""What of a base in 4 bits needs no bitsandbytes: its levels, its bytes, and being told what to install."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from lorabook.errors import ModelError, SettingError
from lorabook.models import load as models
from lorabook.models import load_model
from lorabook.models.nf4 import nf4_bytes
from lorabook.models.precision import precision_for
from lorabook.models.quantized import packed_layers, quantize
from tests.kit import nf4
from tests.kit.families import gpt_bigcode
from tests.kit.untouched import assert_untouched, snapshot


@pytest.mark.parametrize(
    ("package", "message"),
    [
        (None, r"needs the package bitsandbytes, which is not here.*pip install 'lorabook\[quantized\]'"),
        (SimpleNamespace(__version__="0.45.5"), r"0\.45\.5 is too old.*pip install 'lorabook\[quantized\]'"),
    ],
    ids=["missing", "too old"],
)
def test_a_missing_or_old_bitsandbytes_is_named_with_the_line_to_install_it(package, message, monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", package)
    model = gpt_bigcode()
    before = snapshot(model)
    with pytest.raises(SettingError, match=message):
        quantize(model)
    assert_untouched(model, before)
    monkeypatch.setattr(models, "preflight", lambda *_: pytest.fail("it asked for the model first"))
    with pytest.raises(SettingError, match=message):
        load_model("bigcode/starcoderbase-1b", device="cpu", quantize="nf4")


def test_a_model_in_full_needs_no_bitsandbytes(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    assert not any(True for _ in packed_layers(load_model("pocket", device="cpu").model))


def test_the_levels_are_quantiles_of_a_normal_distribution():
    """Dettmers et al. 2023, section 3: 7 steps below zero and 8 above, half a step in from the ends on average."""
    edge = 1 - (1 / 30 + 1 / 32) / 2
    above = norm.ppf(np.linspace(edge, 0.5, 9)[:-1])
    below = -norm.ppf(np.linspace(edge, 0.5, 8)[:-1])
    expected = np.sort([*below, 0.0, *above]) / above.max()
    np.testing.assert_allclose(nf4.nf4_levels().numpy(), expected, atol=5e-7)


def test_packing_takes_the_nearest_level_of_each_block():
    W = torch.randn(6, 128, generator=torch.Generator().manual_seed(0))
    W[0, :64] = 0
    for levels in (nf4.nf4_levels(), torch.linspace(-1, 1, 16)):
        codes, scale = nf4.pack(W, levels)
        blocks = W.view(-1, 64)
        assert codes.shape == blocks.shape and torch.equal(scale[:, 0], blocks.abs().amax(1))
        error = (nf4.unpack(codes, scale, levels) - blocks).abs()
        best = (levels * scale[..., None] - blocks[..., None]).abs().amin(-1)
        torch.testing.assert_close(error, best, rtol=1e-5, atol=1e-6)


def test_bytes_of_a_weight():
    """Section 3: 4 + 8 / 64 + 32 / (64 * 256) bits a weight; and 273 fp32 numbers of tables a layer."""
    size = 2048 * 8192
    assert 8 * (nf4_bytes(size) - 4 * 273) / size == 4 + 8 / 64 + 32 / (64 * 256)
    assert nf4_bytes(64) - nf4_bytes(63) == 0 and nf4_bytes(65) - nf4_bytes(64) == 2


def test_memory_is_checked_for_what_4_bits_take(monkeypatch):
    monkeypatch.setattr(models, "available_bytes", lambda device: 6 * 2**30)
    seven, cuda = 6_738_415_616, torch.device("cuda")
    half = precision_for("cuda", (7, 5))
    with pytest.raises(ModelError, match=r"take 12\.55 GiB in float16"):
        models.check_memory("a 7B", seven, half, cuda)
    models.check_memory("a 7B", seven, half, cuda, seven - 262_410_240)
    monkeypatch.setattr(models, "available_bytes", lambda device: 3 * 2**30)
    with pytest.raises(ModelError, match=r"take 3\.\d\d GiB in 4 bits"):
        models.check_memory("a 7B", seven, half, cuda, seven - 262_410_240)
