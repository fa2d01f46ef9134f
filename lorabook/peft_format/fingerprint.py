"""What a base model's weights look like: enough to tell whether an adapter was trained on them."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lorabook.lora import lora_layers
from lorabook.models.quantized import dense_weight, largest_error, packed_layers

SAMPLES_PER_TENSOR, SAMPLES_KEPT = 4096, 256
MOVED = 1 / 16  # of the values of a base packed twice, those that may be a level apart


@dataclass(frozen=True)
class Fingerprint:
    """What a base model's weights look like, cheap to take and to compare.

    `layout` hashes every parameter's name and shape. `exact` hashes up to 4,096 evenly spaced values of each parameter
    in the model's own dtype. `sample` keeps 256 of those values, so that the same base loaded in another precision,
    where `exact` must differ, is still known: its values then agree to one rounding in bfloat16.

    Weights in 4 bits count unpacked. `rounding` then says how far each value of `sample` may lie from the one that was
    rounded (0 for what was not), so that an adapter trained on a base in 4 bits is known on the base itself too; it is
    empty for a base that is not in 4 bits.
    """

    layout: str
    dtype: str
    exact: str
    sample: tuple[float, ...]
    rounding: tuple[float, ...] = ()

    @classmethod
    def of(cls, model: nn.Module) -> "Fingerprint":
        layout, exact, values, errors, dtype = hashlib.sha256(), hashlib.sha256(), [], [], ""
        for name, p, error in _base_parameters(model):
            layout.update(f"{name} {tuple(p.shape)}\n".encode())
            spaced = _spaced(p)
            exact.update(spaced.numpy().tobytes())
            values.append(spaced)
            errors.append(torch.zeros_like(spaced) if error is None else _spaced(error))
            dtype = dtype or str(p.dtype).removeprefix("torch.")
        stream, error = torch.cat(values), torch.cat(errors)
        at = torch.linspace(0, len(stream) - 1, min(SAMPLES_KEPT, len(stream))).long()
        rounding = tuple(error[at].tolist()) if error.any() else ()
        return cls(layout.hexdigest(), dtype, exact.hexdigest(), tuple(stream[at].tolist()), rounding)

    @classmethod
    def from_json(cls, stored: dict) -> "Fingerprint":
        """Back from `asdict`. Raises KeyError or TypeError where something is missing or of another kind."""
        texts, sample = (stored["layout"], stored["dtype"], stored["exact"]), stored["sample"]
        rounding = stored.get("rounding", ())  # not in files older than the base in 4 bits
        if not all(isinstance(text, str) for text in texts) or not all(
            isinstance(x, float) for x in (*sample, *rounding)
        ):
            raise TypeError("three texts and two lists of numbers were written")
        if len(rounding) not in (0, len(sample)):
            raise TypeError("one list is as long as the other, or empty")
        return cls(*texts, tuple(sample), tuple(rounding))

    def matches(self, other: "Fingerprint") -> bool:
        """Whether both are the same base, in whatever precision each was loaded."""
        if self.layout != other.layout or len(self.sample) != len(other.sample):
            return False
        packed = bool(self.rounding) + bool(other.rounding)
        if self.exact == other.exact or (self.dtype == other.dtype and not packed):
            return self.exact == other.exact
        a, b = torch.tensor(self.sample), torch.tensor(other.sample)
        apart, size = (a - b).abs(), torch.maximum(a.abs(), b.abs()) + 1e-5
        if packed == 0:
            return bool((apart <= 2**-7 * size).all())
        rounding = torch.tensor(self.rounding or other.rounding)
        if packed == 1:
            return bool((apart <= 2**-7 * size + rounding).all())
        # Packed twice, scales differ a little (device, double quantisation), and where the dtype before differed some
        # numbers fall on the next level.
        moved = apart > 2**-5 * size
        return bool((apart <= 2**-5 * size + 2 * rounding).all()) and bool(moved.float().mean() <= MOVED)


def _spaced(tensor: Tensor) -> Tensor:
    flat = tensor.detach().flatten()
    return flat[:: max(1, flat.numel() // SAMPLES_PER_TENSOR)][:SAMPLES_PER_TENSOR].float().cpu()


def _base_parameters(model: nn.Module) -> Iterator[tuple[str, Tensor, Tensor | None]]:
    """Of every base parameter the name without LoRA layers, its numbers, and how far rounding may have moved each."""
    adapter = {id(p) for _, layer in lora_layers(model) for p in (layer.A, layer.B)}
    packed = {id(layer.weight): layer for _, layer in packed_layers(model)}
    for name, p in model.named_parameters():
        if layer := packed.get(id(p)):
            yield _plain(name), dense_weight(layer), largest_error(layer)
        elif id(p) not in adapter:
            yield _plain(name), p, None


def _plain(name: str) -> str:
    """A parameter's name as it was without LoRA layers and without `torch.compile`."""
    return name.replace(".base_layer.", ".").replace("_orig_mod.", "")
