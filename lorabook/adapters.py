"""Many LoRA adapters on one base, which is there once: add, activate, deactivate, delete, and batches that mix them.

The layers of the active adapter are in the model, around its base layers; those of the others are kept beside it.
Switching takes one set out and puts another in: modules change places, no weight is copied, nothing is computed. What
is kept beside the model is no part of it: it is not trained, saved, merged or counted.

    add(model, "titles", LoRAConfig(r=8, targets=("c_attn",)))
    load(model, "code", "runs/code")
    activate(model, "titles")                                  # now `finetune` trains it, `adapter_file.save` saves it
    with mixed_batch(model, ["titles", None, "code"]):
        model(input_ids)                                       # three rows: an adapter, the base, another adapter
    deactivate(model)                                          # the base, bit for bit
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lorabook.errors import SettingError
from lorabook.lora import (
    Adapter,
    LoRAConfig,
    LoRALayer,
    Report,
    adapters_of,
    apply_lora,
    lora_layers,
    replace_modules,
)
from lorabook.merging import remove
from lorabook.peft_format import adapter_file
from lorabook.subspace.training import subspace_of


def names(model: nn.Module) -> list[str]:
    """The names of the model's adapters, in the order they came."""
    return list(adapters_of(model).named)


def active(model: nn.Module) -> str | None:
    """The name of the adapter that is in the model now; None if the base is alone.

    Raises:
        SettingError: the model has LoRA layers without a name, or a mixed batch is running.
    """
    if any(isinstance(module, MixedLayer) for module in model.modules()):
        raise SettingError("A mixed batch is running.", "Leave the `with mixed_batch(...)` block first.")
    present = [layer for _, layer in lora_layers(model)]
    if not present:
        return None
    for name, adapter in adapters_of(model).named.items():
        if present == list(adapter.layers.values()):
            return name
    raise SettingError(
        "This model has LoRA layers without a name.",
        "Save them with adapter_file.save, call remove(model), then load them under a name.",
    )


def add(model: nn.Module, name: str, config: LoRAConfig) -> Report:
    """A new adapter, kept beside the model until it is activated. Freezes the base; what is active stays active.

    Raises:
        SettingError: the name is taken; the model is merged, has a subspace, or has LoRA layers without a name;
            `apply_lora` refuses `config`. The model is then as it was.
    """
    return _keep(model, name, lambda: apply_lora(model, config))


def load(model: nn.Module, name: str, folder: str | Path, base_name: str | None = None) -> Report:
    """The adapter that `adapter_file.save` or PEFT wrote to `folder`, kept beside the model as by `add`.

    Raises:
        AdapterError: `adapter_file.load` refuses the file. The model is then as it was.
        SettingError: as for `add`.
    """
    return _keep(model, name, lambda: adapter_file.load(model, folder, base_name))


def activate(model: nn.Module, name: str) -> None:
    """Put the adapter `name` into the model, on its device and in its mode, and take out the one that was in it.

    The model is then, bit for bit, one that only ever had this adapter.

    Raises:
        SettingError: there is no such adapter; the model is merged, has a subspace, or has LoRA layers without a name;
            another module stands where a base layer was. The model is then as it was.
    """
    adapter = _placed(model, name)
    if active(model) == name:
        return
    _refuse_fixed(model)
    deactivate(model)
    replace_modules(model, {layer.base_layer: _fitted(layer) for layer in adapter.layers.values()})
    adapters_of(model).active = adapter


def deactivate(model: nn.Module) -> None:
    """Take the active adapter out, if there is one, and keep it: the model is its base again, bit for bit, and frozen.

    Raises:
        SettingError: the model is merged, has a subspace, or has LoRA layers without a name.
    """
    if active(model) is None:
        return
    _refuse_fixed(model)
    model.zero_grad()  # gradients of a step not taken would wait for this adapter's next turn
    remove(model)


def delete(model: nn.Module, name: str) -> None:
    """Forget the adapter `name`, deactivated first if it is active.

    Raises:
        SettingError: there is no such adapter, or it is active and cannot be deactivated.
    """
    _named(model, name)
    if active(model) == name:
        deactivate(model)
    del adapters_of(model).named[name]


@contextlib.contextmanager
def mixed_batch(model: nn.Module, rows: Sequence[str | None]) -> Iterator[None]:
    """Within the block, row i of every batch goes through the adapter `rows[i]`; None is the base alone.

    Each adapted layer does its base product once, for the whole batch, and adds each adapter's thin products to that
    adapter's rows. That is what merging gives up: a merged weight serves one task. After the block, what was active is
    so again.

    Raises:
        SettingError: there is no such adapter; the model cannot be switched, see `activate`; in the block, a batch of
            another size.
    """
    parts: dict[str, list[tuple[Tensor, LoRALayer]]] = {}
    for name in dict.fromkeys(rows):
        if name is not None:
            mine = torch.tensor([i for i, row in enumerate(rows) if row == name])
            for place, layer in _placed(model, name).layers.items():
                parts.setdefault(place, []).append((mine, layer))
    with _bare(model):
        bases = {place: model.get_submodule(place) for place in parts}
        mixed = {base: MixedLayer(base, parts[place], len(rows)) for place, base in bases.items()}
        replace_modules(model, dict(mixed))
        try:
            yield
        finally:
            replace_modules(model, {layer: base for base, layer in mixed.items()})


class MixedLayer(nn.Module):
    """h = base(x), plus scaling * B A x for the rows of each adapter. `parts`: (indices of rows, LoRA layer).

    Shapes: x (rows, ...), or (1, ...) of an embedding for positions that all rows share -> h (rows, ..., d).
    """

    def __init__(self, base_layer: nn.Module, parts: list[tuple[Tensor, LoRALayer]], rows: int):
        super().__init__()
        self.base_layer, self.rows = base_layer, rows
        device = base_layer.get_parameter("weight").device
        self.parts = [(mine.to(device), _fitted(layer)) for mine, layer in parts]  # in a list: no modules of the model
        self.train(base_layer.training)

    def forward(self, x: Tensor) -> Tensor:
        h = self.base_layer(x)
        if len(x) == 1 and isinstance(self.base_layer, nn.Embedding):
            x, h = x.expand(self.rows, *x.shape[1:]), h.expand(self.rows, *h.shape[1:])
        if len(x) != self.rows or x.ndim < 2:
            raise SettingError(
                f"A layer got {len(x)} rows, and {self.rows} were given an adapter.",
                "Name one for every row of the batch, None for the base.",
            )
        for mine, layer in self.parts:
            layer.train(self.training)  # beside the model, it does not hear of model.eval()
            h = h.index_copy(0, mine, layer.add_update(h[mine], x[mine]))
        return h

    @property
    def weight(self) -> Tensor:
        raise SettingError(
            "This model reads the weight of an adapted layer, and the rows of a mixed batch have no weight in common.",
            "Give each adapter a batch of its own.",
        )


def _named(model: nn.Module, name: str) -> Adapter:
    adapters = adapters_of(model).named
    if name not in adapters:
        advice = f"Choose among: {', '.join(adapters)}." if adapters else "Call add or load first."
        raise SettingError(f"This model has no adapter {name!r}.", advice)
    return adapters[name]


def _placed(model: nn.Module, name: str) -> Adapter:
    """The adapter `name`, whose base layers are all still where they were."""
    adapter = _named(model, name)
    for place, layer in adapter.layers.items():
        found = model.get_submodule(place)
        if (found.base_layer if isinstance(found, (LoRALayer, MixedLayer)) else found) is not layer.base_layer:
            raise SettingError(
                f"{place} is now a {type(found).__name__}, not the layer that {name!r} was made for.",
                "Take out first what was put in its place.",
            )
    return adapter


def _keep(model: nn.Module, name: str, apply: Callable[[], Report]) -> Report:
    """Let `apply` put LoRA layers around the bare base, and keep them beside the model under `name`."""
    if name in adapters_of(model).named:
        raise SettingError(f"This model already has an adapter {name!r}.", "Choose another name, or delete it first.")
    with _bare(model):
        report = apply()
        adapter = adapters_of(model).active
        assert adapter is not None
        adapters_of(model).named[name] = adapter
        remove(model)
    return report


@contextlib.contextmanager
def _bare(model: nn.Module) -> Iterator[None]:
    """Within the block the model is its base; afterwards what was active is so again, its gradients untouched."""
    before = active(model)
    _refuse_fixed(model)
    if before is not None:
        remove(model)
    try:
        yield
    finally:
        if before is not None:
            activate(model, before)


def _fitted(layer: LoRALayer) -> LoRALayer:
    """A layer from beside the model, with the device and the mode that its base layer has by now."""
    return layer.to(layer.base_layer.weight.device).train(layer.base_layer.training)


def _refuse_fixed(model: nn.Module) -> None:
    """Refuse to switch while base weights include an update, or a subspace trains the parameters that are in."""
    if any(layer.merged for _, layer in lora_layers(model)):
        raise SettingError("The active adapter is merged into the base.", "Call unmerge(model) first, or load it anew.")
    if subspace_of(model) is not None:
        raise SettingError("This model has a subspace.", "Call remove_subspace(model) first.")
