"""Low-Rank Adaptation, the layers themselves (Hu et al. 2021, arXiv 2106.09685, section 4.1).

A frozen weight W0 of shape (d, k), d outputs and k inputs, gets a trainable update of rank r:

    h = W0 x + scaling * B A x        A: (r, k)   B: (d, r)   scaling = alpha / r

The product B A is never formed in training: x goes through A, then through B, two thin matrix products that keep only
r numbers per token beside the input. Only A and B have gradients and optimizer state: r (d + k) numbers, not d k.

    report = apply_lora(model, LoRAConfig(r=16, alpha=32, targets=("c_attn", "c_proj", "c_fc")))

Putting the update into the weights, and taking the layers out again, is in `merging.py`; many adapters on one base are
in `adapters.py`. This file and the few that it imports can be lifted into other projects.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorabook.base_layers import adaptable, in_4_bits, is_conv1d, layer_shape, refuse_unsuitable, replace_modules
from lorabook.base_values import BaseValues
from lorabook.errors import SettingError
from lorabook.fast_path import ByteDropout, fork
from lorabook.lora_config import ALL_LINEAR, LoRAConfig

ANY_LAYER = 1024  # the rank that every layer takes, however small: all of a model's layers share one r


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
        if config.r > max(d, k, ANY_LAYER):  # each factor would be larger than the weight, and the update no richer
            raise SettingError(
                f"The rank r is {config.r:,}, and the weight of a layer has {d:,} x {k:,} values.",
                f"Give a rank of at most {min(d, k):,}, the largest that an update of this layer can have.",
            )
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

    @property
    def weight(self) -> Tensor:
        """W0 + scaling * B A, for models that read a layer's weight instead of calling the layer (Mamba, attention in
        `torch.nn`). Formed whenever it is read, without dropout; its gradient reaches A and B. Of a base in 4 bits,
        the packed W0.
        """
        base = self.base_layer.weight
        return base if self.merged or in_4_bits(self.base_layer) else (base + self.delta()).to(base.dtype)

    @property
    def bias(self) -> Tensor | None:
        """The base layer's bias, which has no update."""
        return getattr(self.base_layer, "bias", None)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LoRALayer":
        """What `half()`, `to(device)` and the like do to each parameter, here to the kept base weight too."""
        super()._apply(fn, recurse)
        for original in self.kept:
            original.data = fn(original.data)
        return self

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
        self.out_features, self.in_features = self.shape
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
        return is_conv1d(self.base_layer)

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
        self.embedding_dim, self.num_embeddings = self.shape
        self.padding_idx = base_layer.padding_idx
        _draw(self.B, lambda t: t.normal_(generator=generator))

    def add_update(self, h: Tensor, x: Tensor) -> Tensor:
        z = F.embedding(x, self.A.T, padding_idx=self.base_layer.padding_idx)  # (...) -> (..., r)
        scale = getattr(self.base_layer, "embed_scale", 1.0)  # Gemma multiplies the rows it looks up
        return h + (F.linear(self.scaling * z, self.B) * scale).to(h.dtype)

    def delta(self) -> Tensor:
        return self.scaling * (self.B @ self.A).T


def _draw(parameter: nn.Parameter, fill) -> None:
    """Fill `parameter` from a generator on the CPU, so that every device starts from the same numbers."""
    if parameter.is_meta:
        return
    with torch.no_grad(), torch.device("cpu"):  # whatever the default device
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
    candidates = {name: m for name, m in model.named_modules(remove_duplicate=False) if name and adaptable(m)}
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
    chosen = {candidates[name] for name in hits}
    return [name for name, m in model.named_modules() if m in chosen]  # a layer in two places by its first name


def apply_lora(model: nn.Module, config: LoRAConfig) -> Report:
    """Freeze `model` and wrap every module that `config.targets` selects. Changes the model in place.

    The wrapped model computes exactly what it computed before, since one factor of every update is zero.

    Raises:
        SettingError: a target matches nothing, or a layer that cannot be adapted; the model already has LoRA layers.
            The model is then as it was.
    """
    if next(lora_layers(model), None) is not None:
        raise SettingError("This model already has LoRA layers.", "Call remove(model) first, or load the model anew.")
    return wrap(model, config, matched(model, config.targets))


def wrap(model: nn.Module, config: LoRAConfig, names: list[str]) -> Report:
    """What `apply_lora` does, to the modules `names` and no others, whatever `config.targets` says.

    Raises:
        SettingError: a layer that cannot be adapted. The model is then as it was.
    """
    for name in names:
        refuse_unsuitable(model, name)
    generator = torch.Generator("cpu").manual_seed(config.seed)
    layers = []
    for name in names:
        base = model.get_submodule(name)
        layer = LoRAEmbedding if isinstance(base, nn.Embedding) else LoRALinear
        layers.append((name, layer(base, config.at(name), generator)))
    values = BaseValues.of(model)
    model.requires_grad_(False)
    replace_modules(model, {layer.base_layer: layer for _, layer in layers})
    adapted = tuple(
        Adapted(name, type(layer.base_layer).__name__, layer.shape, layer.A.numel() + layer.B.numel())
        for name, layer in layers
    )
    model.lora_config, model.lora_base = config, values  # pyright: ignore[reportArgumentType]
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
