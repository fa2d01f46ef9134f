"""Whether the base weights of a model are still those that LoRA was applied to."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

KEPT = 64  # values of each parameter; training changes all of a norm's


@dataclass(frozen=True)
class BaseValues:
    """Up to 64 evenly spaced values of every parameter of a base model, by its name, in its dtype, on the CPU."""

    values: dict[str, Tensor]

    @classmethod
    def of(cls, model: nn.Module) -> "BaseValues":
        """Of a model without LoRA layers. Parameters on the meta device have no values."""
        return cls(
            {name.replace("_orig_mod.", ""): _spaced(p) for name, p in model.named_parameters() if not p.is_meta}
        )

    def changed(self, model: nn.Module) -> list[str]:
        """The names of the parameters that have other values now, in the same `model` with its LoRA layers.

        A parameter that was cast to another dtype since has changed if it is not what the cast makes of it.
        """
        named = model.named_parameters(remove_duplicate=False)
        now = {name.replace(".base_layer.", ".").replace("_orig_mod.", ""): p for name, p in named}
        return [name for name, old in self.values.items() if name in now and _differs(old, now[name])]


def _spaced(p: Tensor) -> Tensor:
    flat = p.detach().flatten()
    return flat[:: max(1, flat.numel() // KEPT)][:KEPT].to("cpu", copy=True)


def _differs(old: Tensor, p: Tensor) -> bool:
    if p.is_meta or p.is_floating_point() != old.is_floating_point():  # packed into 4 bits since, or unpacked
        return False
    new = _spaced(p)
    return new.shape != old.shape or not torch.equal(old.to(new.dtype), new)
