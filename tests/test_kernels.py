"""The faster form of a LoRA step against its plain form, and each of its three means against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacrev, jvp, vmap

from lorabook.kernels import FastLoRALinear, byte_dropout, faster, fork
from lorabook.lora import LoRAConfig, LoRALinear, apply_lora
from lorabook.memory.autocast import GpuArithmetic
from lorabook.memory.counter import StorageCounter

KEPT = 230 / 256  # of p = 0.1


@pytest.fixture
def fast_layer() -> FastLoRALinear:
    return FastLoRALinear(nn.Linear(6, 5), LoRAConfig(r=2, alpha=3, dropout=0.1))


# The switch


class Skipping(nn.Linear):
    """The gradient of its input is the very tensor that it gets as the gradient of its output."""

    def forward(self, x):
        return x + F.linear(x, self.weight).detach()


class Doubling(LoRALinear):
    """A variant of the layer, which has a forward pass of its own."""

    def add_update(self, h, x):
        return 2 * super().add_update(h, x)


def two_layers(first: nn.Linear, second: nn.Linear) -> nn.Module:
    model = nn.Sequential(first, nn.Tanh(), second)
    apply_lora(model, LoRAConfig(r=2, alpha=3))
    for layer in (model[0], model[2]):
        nn.init.normal_(layer.B, generator=torch.Generator().manual_seed(1))
    return model


def gradients(model: nn.Module, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    """The output, and the gradients of the input, of what is trained, and of what the first layer got."""
    x = torch.randn(4, 8, 16, generator=torch.Generator().manual_seed(3)).to(dtype).requires_grad_()
    inner = x * 1
    out = model(inner)
    passed = out * 1  # the model's output is also read elsewhere: its gradient is not the last layer's alone
    (passed.float().square().sum() + out.float().sum()).backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    assert x.grad is not None
    return found | {"x": x.grad, "out": out.detach()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_faster_is_the_plain_form_to_rounding(dtype):
    torch.manual_seed(0)
    model = two_layers(nn.Linear(16, 16), nn.Linear(16, 16)).to(dtype)
    plain = gradients(model, dtype)
    with faster(model):
        assert {type(model[0]), type(model[2])} == {FastLoRALinear}
        fast = gradients(model, dtype)
    assert type(model[0]) is LoRALinear
    tolerance = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 5e-2, torch.float16: 8e-3}[dtype]
    assert plain.keys() == fast.keys() and len(plain) == 6
    for name, value in plain.items():
        scale = float(value.abs().max())
        torch.testing.assert_close(fast[name], value, rtol=0, atol=tolerance * scale, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("shared", ["W0", "A", "both layers"])
def test_layers_that_share_a_parameter_get_the_gradients_of_the_plain_form(shared):
    torch.manual_seed(0)
    model = two_layers(nn.Linear(16, 16), nn.Linear(16, 16))
    if shared == "W0":
        model[2].base_layer.weight = model[0].base_layer.weight
    elif shared == "A":
        model[2].A = model[0].A
    else:
        model[2] = model[0]
    plain = gradients(model)
    with faster(model):
        fast = gradients(model)
    assert plain.keys() == fast.keys()
    for name in plain:
        torch.testing.assert_close(fast[name], plain[name], rtol=1e-5, atol=1e-5)


def test_a_gradient_that_a_skip_hands_on_is_not_added_to():
    torch.manual_seed(0)
    model = nn.Sequential(Skipping(16, 16))
    apply_lora(model, LoRAConfig(r=2, alpha=3))
    nn.init.normal_(model[0].B)

    def run() -> torch.Tensor:
        x = torch.randn(4, 16, generator=torch.Generator().manual_seed(3), requires_grad=True)
        inner = x * 1
        (inner + model(inner)).sum().backward()  # the residual and the layer get one and the same gradient
        assert x.grad is not None
        return x.grad

    plain = run()
    with faster(model):
        torch.testing.assert_close(run(), plain)


def test_two_branches_that_read_the_same_input_and_a_hook_that_keeps_a_gradient():
    torch.manual_seed(0)
    branches = nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16)])
    apply_lora(branches, LoRAConfig(r=2, alpha=3))
    kept = []
    branches[0].base_layer.register_full_backward_hook(lambda module, into, out: kept.append(into[0]))

    def run() -> torch.Tensor:
        x = torch.randn(4, 16, generator=torch.Generator().manual_seed(3), requires_grad=True)
        for branch in branches:
            nn.init.normal_(branch.B, generator=torch.Generator().manual_seed(1))
        sum(branch(x).square().sum() for branch in branches).backward()
        assert x.grad is not None
        return x.grad

    plain = run()
    with faster(branches):
        fast = run()
    torch.testing.assert_close(fast, plain)
    torch.testing.assert_close(kept[1], kept[0])


def test_a_variant_of_the_layer_and_a_merged_one_compute_as_before():
    torch.manual_seed(0)
    x = torch.randn(3, 6)
    variant = Doubling(nn.Linear(6, 5), LoRAConfig(r=2))
    nn.init.normal_(variant.B)
    before = variant(x)
    with faster(variant):
        assert type(variant) is Doubling and torch.equal(variant(x), before)
    layer = LoRALinear(nn.Linear(6, 5), LoRAConfig(r=2))
    nn.init.normal_(layer.B)
    layer.merged = True
    with faster(layer):
        assert torch.equal(layer(x), layer.base_layer(x))


def test_the_switch_goes_back_whatever_happens():
    model = two_layers(nn.Linear(16, 16), nn.Linear(16, 16))
    with pytest.raises(KeyError), faster(model), faster(model):
        raise KeyError
    assert type(model[0]) is LoRALinear


# Dropout


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_an_element_is_zero_or_divided_by_the_share_kept(dtype):
    torch.manual_seed(0)
    x = torch.randn(64, 1000).to(dtype)
    y = byte_dropout(x, 0.1)
    zero = y == 0
    assert y.dtype == dtype and y.shape == x.shape
    torch.testing.assert_close(y[~zero], (x / KEPT)[~zero])
    # 64,000 draws: five standard deviations of a binomial share
    assert zero.double().mean().item() == pytest.approx(1 - KEPT, abs=5 * (KEPT * (1 - KEPT) / x.numel()) ** 0.5)


@pytest.mark.parametrize("p", [0.001, 0.05, 0.5, 0.9, 0.999])
def test_the_expectation_is_the_input_whatever_the_rate(p):
    torch.manual_seed(1)
    y = byte_dropout(torch.ones(400_000), p)
    rate = min(max(round(256 * p), 1), 255) / 256
    assert (y == 0).double().mean().item() == pytest.approx(rate, abs=5 * (rate * (1 - rate) / y.numel()) ** 0.5)
    deviation = (rate / (1 - rate) / y.numel()) ** 0.5
    assert y.double().mean().item() == pytest.approx(1, abs=5 * deviation)
    assert abs(rate - p) <= 1 / 256


def test_neighbours_and_the_eight_bytes_of_a_draw_are_independent():
    torch.manual_seed(2)
    zero = (byte_dropout(torch.ones(100_000, 8), 0.5) == 0).double()
    torch.testing.assert_close(zero.mean(0), torch.full((8,), 0.5).double(), atol=0.01, rtol=0)
    torch.testing.assert_close(torch.corrcoef(zero.T), torch.eye(8).double(), atol=0.02, rtol=0)


def test_the_gradient_passes_where_the_element_passed():
    torch.manual_seed(3)
    x = torch.randn(32, 40, requires_grad=True)
    y = byte_dropout(x, 0.3)
    weight = torch.randn_like(x)
    (gradient,) = torch.autograd.grad((y * weight).sum(), x)
    torch.testing.assert_close(gradient, weight * (y / x).detach())
    assert ((y == 0) == (gradient == 0)).all()


def test_every_shape_and_layout_is_taken():
    wide = torch.arange(1.0, 43).view(6, 7)
    for x in (wide.T, wide[:, ::2], wide[0], wide[:0], torch.tensor(2.0), wide.expand(3, 6, 7)):
        y = byte_dropout(x, 0.2)
        assert y.shape == x.shape
        assert (y.isclose(x / (205 / 256)) | (y == 0)).all()


def test_a_dropped_element_is_zero_whatever_it_was():
    y = byte_dropout(torch.full((4096,), torch.nan), 0.5)
    assert (y == 0).any() and (y.isnan() | (y == 0)).all()


def test_the_global_seed_decides_and_evaluation_draws_nothing(fast_layer):
    x = torch.ones(3, 1000)
    torch.manual_seed(4)
    first = byte_dropout(x, 0.1)
    torch.manual_seed(4)
    assert torch.equal(byte_dropout(x, 0.1), first) and not torch.equal(byte_dropout(x, 0.1), first)
    before = torch.get_rng_state()
    fast_layer.eval()(torch.ones(3, 6))
    assert torch.equal(torch.get_rng_state(), before)
    fast_layer.train()(torch.ones(3, 6))
    assert not torch.equal(torch.get_rng_state(), before)


def test_in_a_layer_it_acts_on_the_input_of_a_alone(fast_layer):
    nn.init.normal_(fast_layer.B)
    x = torch.randn(40, 6)
    torch.manual_seed(9)
    expected = fast_layer.base_layer(x) + 3 / 2 * byte_dropout(x, 0.1) @ fast_layer.A.T @ fast_layer.B.T
    plain = LoRALinear(fast_layer.base_layer, LoRAConfig(r=2, alpha=3, dropout=0.1))
    plain.A, plain.B = fast_layer.A, fast_layer.B
    torch.manual_seed(9)
    with faster(plain):
        torch.testing.assert_close(plain(x), expected)
    assert type(plain.dropout) is nn.Dropout


def test_it_keeps_one_byte_an_element_where_pytorch_keeps_four():
    x = torch.ones(8, 100, requires_grad=True)

    def kept(dropout) -> int:
        with StorageCounter([x]) as counter:
            start = counter.live
            y = dropout(x)
            return counter.live - start - y.nbytes

    assert kept(lambda x: byte_dropout(x, 0.1)) == x.numel()
    assert kept(nn.Dropout(0.1)) == 4 * x.numel()


def test_modes_see_it_and_the_meta_device_has_it():
    meta = torch.ones(8, 100, device="meta", requires_grad=True)
    assert byte_dropout(meta, 0.1).shape == meta.shape
    torch.manual_seed(5)
    expected = F.dropout(torch.ones(512), 0.5)
    torch.manual_seed(5)
    with GpuArithmetic(torch.float16):  # a GPU's step in rehearsal: PyTorch's own kernel
        assert torch.equal(byte_dropout(torch.ones(512), 0.5), expected)


# Under torch.func: the plain formula


@pytest.fixture(params=[LoRALinear, FastLoRALinear])
def layer(request) -> LoRALinear:
    torch.manual_seed(8)
    layer = request.param(nn.Linear(6, 5), LoRAConfig(r=2, alpha=3))
    nn.init.normal_(layer.B)
    return layer


def plain(p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    return x @ p["base_layer.weight"].T + p["base_layer.bias"] + 1.5 * (x @ p["A"].T @ p["B"].T)


TRANSFORMS = {
    "grad": lambda f, p, x, t: grad(lambda p, x: f(p, x).square().sum(), (0, 1))(p, x),
    "vmap": lambda f, p, x, t: vmap(f, (None, 0))(p, x),
    "grad of each row": lambda f, p, x, t: vmap(grad(lambda p, x: f(p, x).square().sum()), (None, 0))(p, x),
    "many adapters": lambda f, p, x, t: vmap(lambda A: f(p | {"A": A}, x))(torch.stack([p["A"], t["A"]])),
    "jvp": lambda f, p, x, t: jvp(lambda p, x: f(p, x), (p, x), (t, 2 * x)),
    "jacrev": lambda f, p, x, t: jacrev(f, 1)(p, x),
    "hessian": lambda f, p, x, t: hessian(lambda p: f(p, x).square().sum())({n: p[n] for n in p}),
}


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
def test_a_lora_layer_under_torch_func_is_the_plain_formula(layer, transform):
    p = {name: value.detach() for name, value in layer.named_parameters()}
    tangents, x = {name: torch.randn_like(value) for name, value in p.items()}, torch.randn(3, 6)
    ours = transform(lambda p, x: functional_call(layer, p, (x,)), p, x, tangents)
    torch.testing.assert_close(ours, transform(plain, p, x, tangents))


def test_forward_mode_and_a_graph_without_breaks(layer):
    x = torch.randn(3, 6, requires_grad=True)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(layer(forward_ad.make_dual(x.detach(), torch.ones(3, 6)))).tangent
    torch.testing.assert_close(tangent, torch.ones(3, 6) @ layer.weight.T)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), layer(x))
    torch.testing.assert_close(*(torch.autograd.grad(f(x).square().sum(), x)[0] for f in (compiled, layer)))


def test_dropout_under_vmap_is_drawn_for_each_row():
    rows = vmap(lambda x: byte_dropout(x, 0.5), randomness="different")(torch.ones(50, 64))
    assert set(rows.unique().tolist()) == {0.0, 2.0} and (rows != rows[:1]).any()
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(lambda x: byte_dropout(x, 0.5))(torch.ones(50, 64))


def test_a_forked_input_has_the_gradient_that_autograd_gives_and_one_tensor_less():
    torch.manual_seed(6)
    base, thin = nn.Linear(64, 8), nn.Linear(64, 2)

    def gradient(split) -> tuple[torch.Tensor, int]:
        x = torch.randn(5, 50, 64, generator=torch.Generator().manual_seed(7), requires_grad=True)
        with StorageCounter([x, *base.parameters(), *thin.parameters()]) as counter:
            before = counter.live
            first, second = split(x * 1)
            (base(first).square().sum() + thin(second).square().sum()).backward()
        assert x.grad is not None
        return x.grad, counter.peak - before

    ours, theirs = gradient(fork), gradient(lambda x: (x, x))
    torch.testing.assert_close(ours[0], theirs[0])
    assert theirs[1] - ours[1] > 0.8 * ours[0].nbytes  # the outputs' small gradients are gone by then
    assert torch.autograd.gradcheck(
        lambda x: [y * (i + 1) for i, y in enumerate(fork(x))], torch.ones(3).double().requires_grad_()
    )
