"""What a base model's weights look like: enough to tell whether an adapter was trained on them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from lorabook.lora import lora_layers

SAMPLES_PER_TENSOR, SAMPLES_KEPT = 4096, 256


@dataclass(frozen=True)
class Fingerprint:
    """What a base model's weights look like, cheap to take and to compare.

    `layout` hashes every parameter's name and shape. `exact` hashes up to 4,096 evenly spaced values of each parameter
    in the model's own dtype. `sample` keeps 256 of those values, so that the same base loaded in another precision,
    where `exact` must differ, is still known: its values then agree to one rounding in bfloat16.
    """

    layout: str
    dtype: str
    exact: str
    sample: tuple[float, ...]

    @classmethod
    def of(cls, model: nn.Module) -> "Fingerprint":
        layout, exact, values, dtype = hashlib.sha256(), hashlib.sha256(), [], ""
        for name, p in _base_parameters(model):
            layout.update(f"{name} {tuple(p.shape)}\n".encode())
            flat = p.detach().flatten()
            spaced = flat[:: max(1, flat.numel() // SAMPLES_PER_TENSOR)][:SAMPLES_PER_TENSOR].float().cpu()
            exact.update(spaced.numpy().tobytes())
            values.append(spaced)
            dtype = dtype or str(p.dtype).removeprefix("torch.")
        stream = torch.cat(values)
        at = torch.linspace(0, len(stream) - 1, min(SAMPLES_KEPT, len(stream))).long()
        return cls(layout.hexdigest(), dtype, exact.hexdigest(), tuple(stream[at].tolist()))

    @classmethod
    def from_json(cls, stored: dict) -> "Fingerprint":
        """Back from `asdict`. Raises KeyError or TypeError where something is missing or of another kind."""
        texts, sample = (stored["layout"], stored["dtype"], stored["exact"]), stored["sample"]
        if not all(isinstance(text, str) for text in texts) or not all(isinstance(x, float) for x in sample):
            raise TypeError("three texts and a list of numbers were written")
        return cls(*texts, tuple(sample))

    def matches(self, other: "Fingerprint") -> bool:
        """Whether both are the same base, in whatever precision each was loaded."""
        if self.layout != other.layout or len(self.sample) != len(other.sample):
            return False
        if self.dtype == other.dtype:
            return self.exact == other.exact
        a, b = torch.tensor(self.sample), torch.tensor(other.sample)
        one_rounding = 2**-7 * torch.maximum(a.abs(), b.abs())
        return bool(((a - b).abs() <= one_rounding + 1e-7).all())


def _base_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Name and tensor of every base parameter, under the names they have without LoRA layers."""
    adapter = {id(p) for _, layer in lora_layers(model) for p in (layer.A, layer.B)}
    for name, p in model.named_parameters():
        if id(p) not in adapter:
            yield name.replace(".base_layer.", "."), p
