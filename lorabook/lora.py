"""Low-Rank Adaptation, the layers themselves (Hu et al. 2021, arXiv 2106.09685, section 4.1).

A frozen weight W0 of shape (d, k), d outputs and k inputs, gets a trainable update of rank r:

    h = W0 x + scaling * B A x        A: (r, k)   B: (d, r)   scaling = alpha / r

The product B A is never formed in training: x goes through A, then through B, two thin matrix products that keep only
r numbers per token beside the input. Only A and B have gradients and optimizer state: r (d + k) numbers, not d k.

    report = apply_lora(model, LoRAConfig(r=16, alpha=32, targets=("c_attn", "c_proj", "c_fc")))

Putting the update into the weights, and taking the layers out again, is in `merging.py`; many adapters on one base are
in `adapters.py`. This file stands alone but for `errors.py` and `fast_path.py`, so that it can be lifted into other
projects.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorabook.errors import SettingError
from lorabook.fast_path import ByteDropout, fork

ALL_LINEAR = "all-linear"


@dataclass(frozen=True)
class LoRAConfig:
    """What to adapt and how.

    Args:
        r: rank of the update, at least 1.
        alpha: numerator of the scaling, a constant in r (section 4.1). It moves no byte of memory.
        dropout: probability of zeroing an input element on its way into A, in training only. Embeddings have none.
        targets: module names as PEFT's `target_modules` reads them: `"c_proj"` hits every module whose name is
            `c_proj` or ends in `.c_proj`. `"all-linear"` stands for every linear layer but the output head.
        rslora: use alpha / sqrt(r) (Kalajdzievski 2023, arXiv 2312.03732) in place of alpha / r.
        seed: of the generator that draws A (of embeddings: B). The global random state is left alone.

    Raises:
        SettingError: a value out of its range.
    """

    r: int = 16
    alpha: float = 32
    dropout: float = 0.0
    targets: tuple[str, ...] = (ALL_LINEAR,)
    rslora: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        targets = (self.targets,) if isinstance(self.targets, str) else self.targets
        if not isinstance(targets, Iterable) or not (targets := tuple(targets)):
            raise SettingError(f"targets is {self.targets!r}.", "Name at least one module, or 'all-linear'.")
        if not all(isinstance(t, str) and t for t in targets):
            raise SettingError(f"targets is {self.targets!r}.", "Give names of modules, or 'all-linear'.")
        object.__setattr__(self, "targets", targets)
        if isinstance(self.r, bool) or not isinstance(self.r, int) or self.r < 1:
            raise SettingError(f"The rank r is {self.r!r}.", "Give a whole number of at least 1, for example r=16.")
        if not _is_number(self.alpha) or not math.isfinite(self.alpha) or self.alpha <= 0:
            raise SettingError(f"alpha is {self.alpha!r}.", "Give a positive number, for example alpha=2 * r.")
        if not _is_number(self.dropout) or not 0 <= self.dropout < 1:
            raise SettingError(f"dropout is {self.dropout!r}.", "Give a probability from 0 up to, not including, 1.")

    @property
    def scaling(self) -> float:
        """alpha / r, or alpha / sqrt(r) with `rslora`."""
        return self.alpha / (math.sqrt(self.r) if self.rslora else self.r)


@dataclass(frozen=True)
class Adapted:
    """One adapted module: its name, its kind, the base weight's (d, k) and the r (d + k) trainable parameters."""

    name: str
    kind: str
    shape: tuple[int, int]
    parameters: int


@dataclass(frozen=True)
class Report:
    """What `apply_lora` did. `total` counts every parameter of the adapted model once, tied ones too."""

    modules: tuple[Adapted, ...]
    trainable: int
    total: int

    def __str__(self) -> str:
        lines = [f"{m.name}  {m.kind} {m.shape[0]} x {m.shape[1]}  {m.parameters:,}" for m in self.modules]
        share = 100 * self.trainable / self.total
        return "\n".join([*lines, f"trainable parameters: {self.trainable:,} of {self.total:,} ({share:.4f}%)"])


class LoRALayer(nn.Module):
    """A frozen base layer and its low-rank update. Holds what linear layers and embeddings have in common.

    Attributes: `base_layer`, `A` (r, k) and `B` (d, r) in fp32 whatever the base's dtype, `r`, `alpha`, `scaling`,
    and `merged`, which tells whether the base weight already includes the update.
    """

    base_layer: Any  # nn.Linear, Conv1D or nn.Embedding

    def __init__(self, base_layer: Any, config: LoRAConfig, shape: tuple[int, int]):
        super().__init__()
        d, k = shape
        device = base_layer.weight.device
        self.base_layer = base_layer
        self.r, self.alpha, self.scaling, self.shape = config.r, config.alpha, config.scaling, shape
        self.A = nn.Parameter(torch.zeros(config.r, k, dtype=torch.float32, device=device))
        self.B = nn.Parameter(torch.zeros(d, config.r, dtype=torch.float32, device=device))
        self.merged = False
        self.kept: tuple[nn.Parameter, ...] = ()  # merge keeps the base weight here, out of the module's parameters
        base_layer.requires_grad_(False)
        self.train(base_layer.training)

    def forward(self, x: Tensor) -> Tensor:
        h = self.base_layer(x)
        return h if self.merged else self.add_update(h, x)

    def add_update(self, h: Tensor, x: Tensor) -> Tensor:
        """h + scaling * B A x, in the dtype of h, the base layer's output. h (..., d) is left as it was."""
        raise NotImplementedError

    def delta(self) -> Tensor:
        """scaling * B A in fp32, laid out as the base layer's weight."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        return f"r={self.r}, alpha={self.alpha}, scaling={self.scaling:g}, merged={self.merged}"


class LoRALinear(LoRALayer):
    """`h = base(x) + scaling * B A dropout(x)` over `nn.Linear`, or over GPT-2's `Conv1D`, whose weight is (k, d).

    A is drawn kaiming-uniform with a = sqrt(5), that is U(-1/sqrt(k), 1/sqrt(k)), and B is zero, so that the layer
    starts as its base. (The paper says Gaussian for A; loralib and PEFT draw as here.)

    Shapes: x (..., k) -> h (..., d), in the base layer's dtype.
    """

    def __init__(self, base_layer: Any, config: LoRAConfig, generator: torch.Generator | None = None):
        super().__init__(base_layer, config, layer_shape(base_layer))
        self.dropout = ByteDropout(config.dropout) if config.dropout else nn.Identity()
        self.dropout.train(self.training)
        bound = 1 / math.sqrt(self.shape[1])
        _draw(self.A, lambda t: t.uniform_(-bound, bound, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        if self.merged:
            return self.base_layer(x)
        x, again = fork(x)
        return self.add_update(self.base_layer(x), again)

    def add_update(self, h: Tensor, x: Tensor) -> Tensor:
        z = F.linear(self.dropout(x), self.A.to(x.dtype))  # (..., k) -> (..., r)
        z, rows = z.to(h.dtype).reshape(-1, self.r), h.reshape(-1, self.shape[0])
        # One kernel for product, scaling and sum: the update is never a tensor of its own.
        return torch.addmm(rows, z, self.B.to(h.dtype).T, alpha=self.scaling).view(h.shape)

    @property
    def transposed(self) -> bool:
        """Whether the base layer's weight is (k, d)."""
        return _is_conv1d(self.base_layer)

    def delta(self) -> Tensor:
        update = self.scaling * (self.B @ self.A)
        return update.T if self.transposed else update


class LoRAEmbedding(LoRALayer):
    """`h = W0[token] + scaling * B A[:, token]` over `nn.Embedding`. Here d is the width and k the vocabulary.

    A is zero and B is standard normal, the other way round than in a linear layer: a lookup reads one column of A, so
    only tokens that were seen get a gradient, and a token never seen keeps its base embedding exactly.

    Shapes: token ids x (...) -> h (..., d), in the base layer's dtype.
    """

    def __init__(self, base_layer: Any, config: LoRAConfig, generator: torch.Generator | None = None):
        super().__init__(base_layer, config, layer_shape(base_layer))
        _draw(self.B, lambda t: t.normal_(generator=generator))

    def add_update(self, h: Tensor, x: Tensor) -> Tensor:
        z = F.embedding(x, self.A.T, padding_idx=self.base_layer.padding_idx)  # (...) -> (..., r)
        scale = getattr(self.base_layer, "embed_scale", 1.0)  # Gemma multiplies the rows it looks up
        return h + (F.linear(self.scaling * z, self.B) * scale).to(h.dtype)

    def delta(self) -> Tensor:
        return self.scaling * (self.B @ self.A).T


def _is_conv1d(module: nn.Module) -> bool:
    """GPT-2's linear layer, known by name so that transformers need not be imported."""
    return type(module).__name__ == "Conv1D" and getattr(module, "weight", torch.empty(0)).ndim == 2


def in_4_bits(module: nn.Module) -> bool:
    """Whether the weight of `module` is packed by bitsandbytes (`quantized.py`), which need not be imported here."""
    return getattr(getattr(module, "weight", None), "quant_state", None) is not None


def layer_shape(module: Any) -> tuple[int, int]:
    """(d, k) of a linear layer, outputs and inputs, or of an embedding, width and vocabulary; not how it is stored."""
    if in_4_bits(module):
        return module.out_features, module.in_features
    rows, columns = module.weight.shape
    return (columns, rows) if isinstance(module, nn.Embedding) or _is_conv1d(module) else (rows, columns)


def adaptable(module: nn.Module) -> bool:
    """Whether `apply_lora` knows this kind of layer: linear, Conv1D, embedding."""
    return isinstance(module, (nn.Linear, nn.Embedding)) or _is_conv1d(module)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _refuse_unsuitable(name: str, module: nn.Module) -> None:
    if getattr(module, "max_norm", None) is not None:
        raise SettingError(
            f"The embedding {name} has max_norm set, so its forward pass changes its own weight.",
            "Leave it out of targets, or set max_norm to None first.",
        )
    weight = module.get_parameter("weight")
    if not weight.is_floating_point() and not in_4_bits(module):
        raise SettingError(
            f"The weight of {name} is stored as {weight.dtype}, a quantised format.",
            "Load the model in a floating-point precision, or in 4 bits with quantize='nf4'.",
        )


def _draw(parameter: nn.Parameter, fill) -> None:
    """Fill `parameter` from a generator on the CPU, so that every device starts from the same numbers."""
    if parameter.is_meta:
        return
    with torch.no_grad():
        parameter.copy_(fill(torch.empty(parameter.shape, dtype=torch.float32)))


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALayer]]:
    """Name and layer of every LoRA layer in `model`."""
    for name, module in model.named_modules():
        if isinstance(module, LoRALayer):
            yield name, module


def matched(model: nn.Module, targets: tuple[str, ...]) -> list[str]:
    """The names of the modules that `targets` select, in the model's order.

    Raises:
        SettingError: a target matches no layer that can be adapted; the message names those that exist.
    """
    candidates = {name: m for name, m in model.named_modules() if name and adaptable(m)}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    hits: set[str] = set()
    for target in targets:
        if target == ALL_LINEAR:
            found = {n for n, m in candidates.items() if not isinstance(m, nn.Embedding) and m is not head}
        else:
            found = {n for n in candidates if n == target or n.endswith("." + target)}
        if not found:
            exist = ", ".join(sorted({n.rsplit(".", 1)[-1] for n in candidates})) or "none"
            raise SettingError(
                f"The target {target!r} matches no linear layer or embedding of this model.",
                f"Choose among: {exist}.",
            )
        hits |= found
    return [name for name in candidates if name in hits]


def apply_lora(model: nn.Module, config: LoRAConfig) -> Report:
    """Freeze `model` and wrap every module that `config.targets` selects. Changes the model in place.

    The wrapped model computes exactly what it computed before, since one factor of every update is zero.

    Raises:
        SettingError: a target matches nothing, or a layer that cannot be adapted; the model already has LoRA layers.
            The model is then as it was.
    """
    if next(lora_layers(model), None) is not None:
        raise SettingError("This model already has LoRA layers.", "Call remove(model) first, or load the model anew.")
    names = matched(model, config.targets)
    for name in names:
        _refuse_unsuitable(name, model.get_submodule(name))
    generator = torch.Generator().manual_seed(config.seed)
    layers = []
    for name in names:
        base = model.get_submodule(name)
        layer = LoRAEmbedding if isinstance(base, nn.Embedding) else LoRALinear
        layers.append((name, layer(base, config, generator)))
    model.requires_grad_(False)
    for name, layer in layers:
        model.set_submodule(name, layer)
    adapted = tuple(
        Adapted(name, type(layer.base_layer).__name__, layer.shape, layer.A.numel() + layer.B.numel())
        for name, layer in layers
    )
    model.lora_config = config  # pyright: ignore[reportArgumentType]
    return Report(adapted, *count_parameters(model))


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Trainable parameters and all parameters, each tensor counted once however many modules share it.

    A weight in 4 bits counts the numbers it stands for, not the bytes that two of them share.
    """

    def size(p: Any) -> int:
        packed = getattr(p, "quant_state", None)
        return p.numel() if packed is None else math.prod(packed.shape)

    parameters = list(model.parameters())
    return sum(size(p) for p in parameters if p.requires_grad), sum(size(p) for p in parameters)
