"""DoRA and PiSSA as small changes to notebook 01's layer, held against PEFT; and the names of settings."""

import ast
import copy
import inspect
import json
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from lorabook.workbook.clinic.family import DoRALinear, LoRALinear, PiSSALinear

R, ALPHA, D, K = 4, 6, 20, 32
NOTEBOOK = Path(__file__).parents[3] / "notebooks" / "01_lora_from_scratch.ipynb"


def base() -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Linear(K, D)


def of_peft(layer: nn.Linear, **settings) -> nn.Module:
    """PEFT's layer around a copy of `layer`."""
    config = LoraConfig(r=R, lora_alpha=ALPHA, target_modules=["0"], **settings)
    return get_peft_model(nn.Sequential(copy.deepcopy(layer)), config).base_model.model[0]


def theirs_of(layer: nn.Module) -> dict[str, nn.Parameter]:
    named = {"A": layer.lora_A["default"].weight, "B": layer.lora_B["default"].weight}
    return named | ({"m": layer.lora_magnitude_vector["default"].weight} if len(layer.lora_magnitude_vector) else {})


def outcome(layer: nn.Module, trained: dict[str, nn.Parameter], x: Tensor) -> dict[str, Tensor]:
    """Output and the gradient of every trained parameter."""
    h = layer(x)
    return {"h": h, **dict(zip(trained, torch.autograd.grad(h.square().sum(), list(trained.values()))))}


@pytest.mark.parametrize(
    ("ours", "settings"),
    [(LoRALinear, {}), (DoRALinear, {"use_dora": True}), (PiSSALinear, {"init_lora_weights": "pissa"})],
)
def test_output_and_gradients_are_pefts(ours, settings):
    draw = torch.Generator().manual_seed(1)
    mine, theirs, x = ours(base(), R, ALPHA), of_peft(base(), **settings), torch.randn(5, 7, K, generator=draw)
    trained, others = dict(mine.named_parameters()), theirs_of(theirs)
    trained = {name: trained[name] for name in others}
    assert [p for p in mine.parameters() if p.requires_grad] == list(trained.values())
    assert torch.allclose(mine(x), base()(x), atol=1e-5)  # starts as its base
    if ours is PiSSALinear:  # from the same start, which is what PiSSA is
        assert torch.allclose(mine.base.weight, theirs.base_layer.weight, atol=1e-5)
        assert torch.allclose(mine.B @ mine.A, others["B"] @ others["A"], atol=1e-5)
        assert not torch.allclose(mine.base.weight, base().weight, atol=1e-2)
    with torch.no_grad():
        for name, p in trained.items():
            p.add_(torch.randn(p.shape, generator=draw) / 10)
            others[name].copy_(p)
    ours_now, theirs_now = outcome(mine, trained, x), outcome(theirs, others, x)
    for name, value in ours_now.items():
        torch.testing.assert_close(value, theirs_now[name].view_as(value), rtol=1e-5, atol=1e-5)


def test_the_layer_is_the_notebooks():
    cells = ["".join(c["source"]) for c in json.loads(NOTEBOOK.read_text())["cells"] if c["cell_type"] == "code"]
    here = ast.dump(ast.parse(inspect.getsource(LoRALinear)))  # whatever the length of its lines
    classes = [node for cell in cells if "class LoRALinear" in cell for node in ast.parse(cell).body]
    assert any(ast.dump(ast.Module([node], [])) == here for node in classes)
