"""Low-Rank Adaptation (Hu et al. 2021, arXiv 2106.09685, section 4.1): the layers, and the model that gets them.

A frozen weight W0 of shape (d, k), d outputs and k inputs, gets a trainable update of rank r:

    h = W0 x + scaling * B A x        A: (r, k)   B: (d, r)   scaling = alpha / r   (rsLoRA: alpha / sqrt(r))

    report = apply_lora(model, LoRAConfig(r=16, alpha=32, targets=("c_attn", "c_proj", "c_fc")))

This file, lora_config.py and errors.py can be lifted into another project: they need PyTorch and nothing else.
`finetune` runs the same equation in the faster form of kernels.py: whoever changes one changes the other, and the
tests hold them equal.
"""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorabook.errors import SettingError
from lorabook.lora_config import LoRAConfig, select_names


class LoRALayer(nn.Module):
    """A frozen base layer and its low-rank update: h = base(x) + scaling * B A x, in the dtype of base(x).

    Attributes: `base_layer`, `A` (r, k) and `B` (d, r), `r`, `alpha`, `scaling`, and `merged`, which tells whether the
    base weight already includes the update. A and B are fp32 whatever the base's dtype.
    """

    base_layer: Any  # nn.Linear, Conv1D or nn.Embedding

    def __init__(self, base_layer: Any, config: LoRAConfig):
        super().__init__()
        d, k = self.shape = layer_shape(base_layer)
        _refuse_large_rank(config.r, d, k)
        self.base_layer = base_layer.requires_grad_(False)
        self.r, self.alpha, self.scaling = config.r, config.alpha, config.scaling
        device = base_layer.weight.device
        self.A = nn.Parameter(torch.zeros(config.r, k, dtype=torch.float32, device=device))
        self.B = nn.Parameter(torch.zeros(d, config.r, dtype=torch.float32, device=device))
        self.merged = False
        self.kept: tuple[nn.Parameter, ...] = ()  # the base weight while merged, out of the model's parameters
        self.train(base_layer.training)

    def forward(self, x: Tensor) -> Tensor:
        h = self.base_layer(x)  # W0 x
        return h if self.merged else self.add_update(h, x)

    def add_update(self, h: Tensor, x: Tensor) -> Tensor:
        return h + (self.scaling * self.BA(x)).to(h.dtype)  # ... + (alpha / r) B A x

    def BA(self, x: Tensor) -> Tensor:
        """B A x, without the scaling. The product B A is never formed: x goes through A, then through B."""
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
    """LoRA over `nn.Linear`, or over GPT-2's `Conv1D`, whose weight is (k, d). Dropout acts on the input of A.

    A is drawn kaiming-uniform with a = sqrt(5), that is U(-1/sqrt(k), 1/sqrt(k)), and B is zero, so the layer starts as
    its base. (The paper says Gaussian for A; loralib and PEFT draw as here.)

    Shapes: x (..., k) -> h (..., d).
    """

    def __init__(self, base_layer: Any, config: LoRAConfig, generator: torch.Generator | None = None):
        super().__init__(base_layer, config)
        self.out_features, self.in_features = self.shape
        self.dropout = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.dropout.train(self.training)
        bound = 1 / math.sqrt(self.in_features)
        _draw(self.A, lambda t: t.uniform_(-bound, bound, generator=generator))

    def BA(self, x: Tensor) -> Tensor:
        z = F.linear(self.dropout(x), self.A.to(x.dtype))  # A x: (..., k) -> (..., r)
        return F.linear(z, self.B.to(z.dtype))  # B A x: (..., r) -> (..., d)

    def delta(self) -> Tensor:
        update = self.scaling * (self.B @ self.A)
        return update.T if self.transposed else update

    @property
    def transposed(self) -> bool:
        """Whether the base layer's weight is (k, d)."""
        return is_conv1d(self.base_layer)


class LoRAEmbedding(LoRALayer):
    """LoRA over `nn.Embedding`: h = W0[token] + scaling * B A[:, token]. Here d is the width and k the vocabulary.

    A is zero and B is standard normal, the other way round than in a linear layer: a lookup reads one column of A, so
    only tokens that were seen get a gradient, and a token never seen keeps its base embedding exactly. No dropout.

    Shapes: token ids x (...) -> h (..., d).
    """

    def __init__(self, base_layer: Any, config: LoRAConfig, generator: torch.Generator | None = None):
        super().__init__(base_layer, config)
        self.embedding_dim, self.num_embeddings = self.shape
        self.padding_idx = base_layer.padding_idx
        _draw(self.B, lambda t: t.normal_(generator=generator))

    def BA(self, x: Tensor) -> Tensor:
        z = F.embedding(x, self.A.T, padding_idx=self.padding_idx)  # a column of A for each token: (...) -> (..., r)
        # Gemma multiplies the embeddings it looks up
        return F.linear(z, self.B) * getattr(self.base_layer, "embed_scale", 1.0)

    def delta(self) -> Tensor:
        return self.scaling * (self.B @ self.A).T


def layer_class(base_layer: nn.Module, config: LoRAConfig) -> type[LoRALinear] | type[LoRAEmbedding]:
    """The class that wraps `base_layer`. A new variant of the layer is chosen here; CONTRIBUTING.md adds DoRA."""
    return LoRAEmbedding if isinstance(base_layer, nn.Embedding) else LoRALinear


# A model and its LoRA layers


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


def apply_lora(model: nn.Module, config: LoRAConfig) -> Report:
    """Freeze `model` and wrap every module that `config.targets` matches. Changes the model in place.

    The wrapped model computes exactly what it computed before, since one factor of every update is zero.

    Raises:
        SettingError: a target matches nothing, or a layer that cannot be adapted; the model already has LoRA layers.
            The model is then as it was.
    """
    if next(lora_layers(model), None) is not None:
        raise SettingError("This model already has LoRA layers.", "Call remove(model) first, or load the model anew.")
    return wrap(model, config, matched(model, config.targets))


def wrap(model: nn.Module, config: LoRAConfig, names: list[str], trained_on: Any = None) -> Report:
    """What `apply_lora` does, to the modules `names` and no others, whatever `config.targets` says.

    Args:
        trained_on: kept in the `Adapter`: the fingerprint of the base that a loaded adapter was trained on.

    Raises:
        SettingError: a layer that cannot be adapted. The model is then as it was.
    """
    for name in names:
        _refuse_unsuitable(model, name)
    generator = torch.Generator("cpu").manual_seed(config.seed)
    bases = {name: model.get_submodule(name) for name in names}
    layers: dict[str, LoRALayer] = {
        name: layer_class(b, config)(b, config.for_module(name), generator) for name, b in bases.items()
    }
    values = base_values(model)
    model.requires_grad_(False)
    replace_modules(model, {layer.base_layer: layer for layer in layers.values()})
    adapters_of(model).active = Adapter(config, layers, values, trained_on)
    adapted = tuple(
        Adapted(name, type(layer.base_layer).__name__, layer.shape, layer.A.numel() + layer.B.numel())
        for name, layer in layers.items()
    )
    return Report(adapted, *count_parameters(model))


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALayer]]:
    """Name and layer of every LoRA layer in `model`."""
    for name, module in model.named_modules():
        if isinstance(module, LoRALayer):
            yield name, module


def matched(model: nn.Module, targets: tuple[str, ...]) -> list[str]:
    """The names of the modules that `targets` match, in the model's order.

    Raises:
        SettingError: a target matches no layer that can be adapted; the message names those that exist.
    """
    candidates = {name: m for name, m in model.named_modules(remove_duplicate=False) if name and adaptable(m)}
    head = getattr(model, "get_output_embeddings", lambda: None)()
    linear = [name for name, m in candidates.items() if not isinstance(m, nn.Embedding) and m is not head]
    chosen = {candidates[name] for name in select_names(list(candidates), linear, targets, "this model")}
    return [name for name, m in model.named_modules() if m in chosen]  # a layer in two places by its first name


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Trainable parameters and all parameters, each tensor counted once however many modules share it.

    A weight in 4 bits counts the values it stands for, not the bytes that two of them share.
    """

    def size(p: Any) -> int:
        packed = getattr(p, "quant_state", None)
        return p.numel() if packed is None else math.prod(packed.shape)

    parameters = list(model.parameters())
    return sum(size(p) for p in parameters if p.requires_grad), sum(size(p) for p in parameters)


@dataclass(frozen=True)
class Adapter:
    """An adapter: its settings, its layers by module name, and the base it was applied to.

    `base` is what `base_values` found then, `trained_on` what a file told of the base that it was trained on.
    """

    config: LoRAConfig
    layers: dict[str, LoRALayer]
    base: dict[str, Tensor]
    trained_on: Any = None


@dataclass
class ModelAdapters:
    """The adapters of a model: the one that is in it, and all that have a name (`adapters.py`)."""

    active: Adapter | None = None
    named: dict[str, Adapter] = field(default_factory=dict)


def adapters_of(model: nn.Module) -> ModelAdapters:
    """What this library keeps about a model: one plain attribute, which PyTorch takes for no part of the model."""
    return vars(getattr(model, "_orig_mod", model)).setdefault("lorabook_adapters", ModelAdapters())


def gathered(tensor: Tensor) -> Tensor:
    """The tensor itself; of one that is sharded over processes, the whole of it, for which every process must call."""
    whole = getattr(tensor, "full_tensor", None)
    return tensor if whole is None else whole()


def is_sharded(model: nn.Module) -> bool:
    """Whether each process holds a part of the parameters (FSDP's DTensors)."""
    return any(hasattr(p, "full_tensor") for p in model.parameters())


def base_values(model: nn.Module, count: int = 64) -> dict[str, Tensor]:
    """Up to 64 evenly spaced values of every parameter of the base, by its name, in its dtype, on the CPU.

    Training changes all values of a norm, so a change of the base is seen. Parameters on the meta device have none.
    """
    factors = {id(p) for _, layer in lora_layers(model) for p in (layer.A, layer.B)}
    values = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        if not p.is_meta and id(p) not in factors:
            flat = gathered(p.detach()).flatten()
            spaced = flat[:: max(1, flat.numel() // count)][:count].to("cpu", copy=True)
            values[name.replace(".base_layer.", ".").replace("_orig_mod.", "")] = spaced
    return values


def replace_modules(model: nn.Module, new: dict[nn.Module, nn.Module]) -> None:
    """Put `new[m]` wherever a module m stands in `model`, under each of its names."""
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):  # `named_children` leaves out a child's second name
            if child in new:
                setattr(parent, name, new[child])


def replace_base_layers(model: nn.Module, new: dict[nn.Module, nn.Module]) -> None:
    """`replace_modules` for layers of the base. Adapters that are not in the model now get the new base layers too."""
    replace_modules(model, new)
    for adapter in adapters_of(model).named.values():
        for layer in adapter.layers.values():
            layer.base_layer = new.get(layer.base_layer, layer.base_layer)


# Which layers can be adapted


def adaptable(module: nn.Module) -> bool:
    """Whether `apply_lora` knows this kind of layer: linear, Conv1D, embedding.

    Not a subclass of `nn.Linear` whose output is more than one tensor: the routers of some mixtures of experts.
    """
    if isinstance(module, nn.Linear):
        return type(module).forward is nn.Linear.forward or _gives_one_tensor(module)
    return isinstance(module, nn.Embedding) or is_conv1d(module)


def is_conv1d(module: nn.Module) -> bool:
    """GPT-2's linear layer, known by name so that transformers need not be imported."""
    return type(module).__name__ == "Conv1D" and getattr(module, "weight", torch.empty(0)).ndim == 2


def in_4_bits(module: nn.Module) -> bool:
    """Whether the weight of `module` is packed by bitsandbytes, which need not be imported here."""
    return getattr(module._parameters.get("weight"), "quant_state", None) is not None


def layer_shape(module: Any) -> tuple[int, int]:
    """(d, k) of a linear layer, outputs and inputs, or of an embedding, width and vocabulary; not how it is stored."""
    if in_4_bits(module):
        return module.out_features, module.in_features
    rows, columns = module.weight.shape
    return (columns, rows) if isinstance(module, nn.Embedding) or is_conv1d(module) else (rows, columns)


def _refuse_large_rank(r: int, d: int, k: int) -> None:
    if r > max(d, k, 1024):  # each factor would be larger than the weight; small layers share a rank with large ones
        raise SettingError(
            f"The rank r is {r:,}, and the weight of a layer has {d:,} x {k:,} values.",
            f"Give a rank of at most {min(d, k):,}, the largest that an update of this layer can have.",
        )


def _refuse_unsuitable(model: nn.Module, name: str) -> None:
    """SettingError where an update of the layer `name` would be wrong, or lost without a word."""
    module, advice = model.get_submodule(name), "Leave it out of targets."
    weight = module._parameters.get("weight")
    if weight is None:
        raise SettingError(f"The weight of {name} is computed from others, so it cannot be merged.", advice)
    if getattr(module, "max_norm", None) is not None:
        raise SettingError(
            f"The embedding {name} has max_norm set, so its forward pass changes its own weight.",
            "Leave it out of targets, or set max_norm to None first.",
        )
    if not weight.is_floating_point() and not in_4_bits(module):
        raise SettingError(
            f"The weight of {name} is stored as {weight.dtype}, a quantised format.",
            "Load the model in a floating-point precision, or in 4 bits with quantize='nf4'.",
        )
    if isinstance(module, nn.Embedding) and not _looks_up(module):
        raise SettingError(
            f"The embedding {name} does not look up the ids that it is given: its {type(module).__name__} "
            "computes them from other arguments.",
            advice,
        )
    rescales = getattr(getattr(model, "config", None), "rescale_every", 0)
    if rescales and name.endswith(("attention.output", "feed_forward.value")):  # RWKV
        raise SettingError(
            f"This model divides the weight of {name} in place when it is evaluated (rescale_every={rescales}).",
            "Set model.config.rescale_every to 0 first, or leave this layer out of targets.",
        )


def _gives_one_tensor(module: nn.Linear) -> bool:
    """Whether a subclass of `nn.Linear` still maps (..., k) to (..., d). Tried with zeros."""
    if in_4_bits(module) or not module.weight.is_floating_point():
        return True
    x = torch.zeros(1, module.in_features, dtype=module.weight.dtype, device=module.weight.device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):  # some routers add noise
            h = module.forward(x)
    except (TypeError, RuntimeError, ValueError, IndexError):
        return False
    return isinstance(h, Tensor) and h.shape == (1, module.out_features)


def _looks_up(module: nn.Embedding) -> bool:
    """Whether a subclass of `nn.Embedding` takes ids and gives their embeddings, times its `embed_scale` if it has one.

    The position embeddings of OPT and BART take a mask or a length instead. Tried with the ids 0 and 1.
    """
    forward = type(module).forward
    if forward is nn.Embedding.forward:
        return True
    if len(inspect.signature(forward).parameters) != 2:  # self and the ids
        return False
    ids = torch.arange(min(2, module.num_embeddings), device=module.weight.device)[None]
    try:
        with torch.no_grad():
            h = module.forward(ids)
            expected = F.embedding(ids, module.weight) * getattr(module, "embed_scale", 1.0)
    except (TypeError, RuntimeError, ValueError, IndexError):
        return False
    if not isinstance(h, Tensor) or h.shape != expected.shape:
        return False
    return expected.is_meta or torch.allclose(h.float(), expected.float(), rtol=1e-2)


def _draw(parameter: nn.Parameter, fill: Callable[[Tensor], Tensor]) -> None:
    """Fill `parameter` from a generator on the CPU, so that every device starts from the same values."""
    if parameter.is_meta:
        return
    with torch.no_grad(), torch.device("cpu"):  # whatever the default device
        parameter.copy_(fill(torch.empty(parameter.shape, dtype=torch.float32)))
