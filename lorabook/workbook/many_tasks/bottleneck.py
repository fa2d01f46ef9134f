"""Bottleneck adapters, what LoRA is compared with (Houlsby et al. 2019, arXiv 1902.00751, section 2).

The output h of a frozen projection, of the model's width d, passes a small network with a skip of its own:

    h + W_up f(W_down h + b_down) + b_up        W_down: (m, d)   W_up: (d, m)   f = GELU

Every block has two: after the attention's output projection and after the MLP, each before the residual is added. The
nonlinearity f is why they cannot be merged into a weight: they stay on the path of every token, one after the other.
Trained with them are the weights and biases of every norm of the model. The head of a language model stays frozen.

    report = apply_bottleneck(model, BottleneckConfig(m=64))
    finetune(model, train, held_out, config)
    remove_bottleneck(model)                    # the base again, bit for bit
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorabook.errors import SettingError, is_number, is_whole
from lorabook.lora import Adapted, Report, count_parameters, layer_shape, lora_layers
from lorabook.subspace.training import subspace_of

# The projections that end a block's two branches: of GPT-2 and GPTBigCode, of Llama and its relatives.
ENDS = (("attn.c_proj", "mlp.c_proj"), ("self_attn.o_proj", "mlp.down_proj"))


@dataclass(frozen=True)
class BottleneckConfig:
    """How narrow, and from where to start.

    Args:
        m: width of the bottleneck, at least 1.
        std: of the normal distribution that the weights are drawn from, before it is cut at 2 std on both sides.
        seed: of the generator that draws them. The global random state is left alone.

    Raises:
        SettingError: a value out of its range.
    """

    m: int = 64
    std: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if not is_whole(self.m, 1):
            raise SettingError(f"The width m is {self.m!r}.", "Give a whole number of at least 1, for example m=64.")
        if not is_number(self.std) or not 0 < self.std < float("inf"):
            raise SettingError(f"std is {self.std!r}.", "Give a positive number, for example std=1e-3.")


@dataclass(frozen=True)
class BottleneckReport(Report):
    """What `apply_bottleneck` did: `trainable` is the sum of the parameters of `adapters` and those of `norms`."""

    adapters: int
    norms: int

    def __str__(self) -> str:
        return f"{super().__str__()}\nof them in adapters: {self.adapters:,}, in norms: {self.norms:,}"


class Bottleneck(nn.Module):
    """`h + W_up gelu(W_down h + b_down) + b_up` with h = base(x): 2 m d + d + m parameters, in fp32 whatever the base.

    Weights are drawn from a truncated normal, biases are zero. So the layer starts near its base, not equal to it: the
    update is of order std^2, where LoRA's is zero. GELU is in its tanh form. All this is as in the authors' code
    (google-research/adapter-bert), but for one thing: where the model drops out the projection's output in training
    (GPT-2's `resid_pdrop`), here it drops out the adapter's output, while theirs takes what the dropout has left.

    Shapes: x (..., k) -> (..., d), in the base layer's dtype.
    """

    def __init__(self, base_layer: Any, config: BottleneckConfig, generator: torch.Generator | None = None):
        super().__init__()
        d, m = layer_shape(base_layer)[0], config.m
        device = base_layer.weight.device

        def drawn(*shape: int) -> nn.Parameter:  # on the CPU, so that every device starts from the same numbers
            weight = torch.empty(shape, dtype=torch.float32)
            cut = 2 * config.std
            nn.init.trunc_normal_(weight, std=config.std, a=-cut, b=cut, generator=generator)
            return nn.Parameter(weight.to(device))

        self.base_layer = base_layer
        self.W_down = drawn(m, d)
        self.b_down = nn.Parameter(torch.zeros(m, dtype=torch.float32, device=device))
        self.W_up = drawn(d, m)
        self.b_up = nn.Parameter(torch.zeros(d, dtype=torch.float32, device=device))
        base_layer.requires_grad_(False)
        self.train(base_layer.training)

    def forward(self, x: Tensor) -> Tensor:
        h = self.base_layer(x)
        z = F.linear(h.to(self.W_down.dtype), self.W_down, self.b_down)  # (..., d) -> (..., m)
        return h + F.linear(F.gelu(z, approximate="tanh"), self.W_up, self.b_up).to(h.dtype)

    def extra_repr(self) -> str:
        return f"d={self.W_up.shape[0]}, m={self.W_up.shape[1]}"


class TrainedNorm(nn.Module):
    """A LayerNorm or RMSNorm with its parameters in fp32, to be trained; the output has the input's dtype.

    What they replaced is kept in `kept`, by name, for `remove_bottleneck`. In a 16-bit model the norm is computed in
    fp32 and rounded once.
    """

    def __init__(self, base_layer: nn.Module):
        super().__init__()
        self.base_layer = base_layer
        self.kept = dict(base_layer.named_parameters(recurse=False))
        for name, p in self.kept.items():
            setattr(base_layer, name, nn.Parameter(p.detach().to(torch.float32, copy=True)))
            p.requires_grad_(False)
        self.train(base_layer.training)

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x.float()).to(x.dtype)

    def restored(self) -> nn.Module:
        """The norm with the very parameters it had."""
        for name, p in self.kept.items():
            p.data = p.data.to(self.base_layer.get_parameter(name).device)  # the model may have moved since
            setattr(self.base_layer, name, p)
        return self.base_layer


def apply_bottleneck(model: nn.Module, config: BottleneckConfig) -> BottleneckReport:
    """Freeze `model`, put an adapter behind both branches of every block, and let every norm be trained.

    Changes the model in place. Of a base in 16 bits the norms become fp32; all frozen weights stay as they are.

    Raises:
        SettingError: the model has adapters, LoRA layers or a subspace already; its blocks are not of a known family.
            The model is then as it was.
    """
    if next(_layers(model), None) is not None:
        raise SettingError("This model already has bottleneck adapters.", "Call remove_bottleneck(model) first.")
    if next(lora_layers(model), None) is not None:
        raise SettingError("This model has LoRA layers.", "Call remove(model) first, or load the model anew.")
    if subspace_of(model) is not None:
        raise SettingError("This model has a subspace.", "Call remove_subspace(model) first.")
    ends = _ends(model)
    norms = [name for name, module in model.named_modules() if _is_norm(module)]
    generator = torch.Generator().manual_seed(config.seed)
    model.requires_grad_(False)
    adapters = [Bottleneck(model.get_submodule(name), config, generator) for name in ends]
    for name, layer in zip(ends, adapters):
        model.set_submodule(name, layer)
    for name in norms:
        model.set_submodule(name, TrainedNorm(model.get_submodule(name)))
    counts = [sum(p.numel() for p in layer.parameters() if p.requires_grad) for layer in adapters]
    adapted = tuple(
        Adapted(name, type(layer.base_layer).__name__, layer_shape(layer.base_layer), count)
        for name, layer, count in zip(ends, adapters, counts)
    )
    trainable, total = count_parameters(model)
    return BottleneckReport(adapted, trainable, total, adapters=sum(counts), norms=trainable - sum(counts))


def remove_bottleneck(model: nn.Module) -> None:
    """Take the adapters out and give the norms back the parameters they had, not those they were trained to.

    The model is then its base again, bit for bit, and stays frozen.

    Raises:
        SettingError: the model has no bottleneck adapters.
    """
    layers = list(_layers(model))
    if not layers:
        raise SettingError("This model has no bottleneck adapters.", "There is nothing to remove.")
    for name, layer in layers:
        base = layer.restored() if isinstance(layer, TrainedNorm) else layer.base_layer
        model.set_submodule(name, base.train(layer.training))


def trained_parameters(m: int, d: int, blocks: int, norms: int) -> int:
    """What `apply_bottleneck` trains: 2 blocks (2 m d + d + m) parameters of adapters, and `norms` of norms."""
    return 2 * blocks * (2 * m * d + d + m) + norms


def width_for(parameters: int, d: int, blocks: int, norms: int) -> int:
    """The width m, at least 1, with which `trained_parameters` comes nearest to `parameters`."""
    least = trained_parameters(0, d, blocks, norms)
    return max(1, round((parameters - least) / (trained_parameters(1, d, blocks, norms) - least)))


def _layers(model: nn.Module) -> Iterator[tuple[str, Bottleneck | TrainedNorm]]:
    for name, module in model.named_modules():
        if isinstance(module, (Bottleneck, TrainedNorm)):
            yield name, module


def _ends(model: nn.Module) -> list[str]:
    """The names of the two projections of every block, in the model's order."""
    names = [name for name, module in model.named_modules() if isinstance(getattr(module, "weight", None), Tensor)]
    for family in ENDS:
        attention, mlp = ([n for n in names if f".{n}".endswith(f".{end}")] for end in family)
        if attention and len(attention) == len(mlp):
            return [n for n in names if n in {*attention, *mlp}]
    raise SettingError(
        f"The blocks of {type(model).__name__} are not known.",
        f"Choose a model whose blocks end in {' or '.join(' and '.join(family) for family in ENDS)}.",
    )


def _is_norm(module: nn.Module) -> bool:
    """Whether `module` is a LayerNorm or RMSNorm with parameters. RMSNorms differ by model: known by name."""
    named = type(module).__name__.endswith(("LayerNorm", "RMSNorm"))
    return named and bool(list(module.parameters(recurse=False)))
