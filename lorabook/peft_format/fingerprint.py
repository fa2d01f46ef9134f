"""What a base model's weights look like: enough to tell whether an adapter was trained on them."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lorabook.lora import gathered, lora_layers
from lorabook.models.quantized import dense_weight, packed_layers

PER_TENSOR, KEPT = 4096, 256  # values looked at, values kept


@dataclass(frozen=True)
class Fingerprint:
    """What a base model's weights look like, cheap to take and to compare.

    `layout` hashes every parameter's name and shape. `exact` hashes up to 4,096 evenly spaced values of each parameter
    in the model's own dtype, and `sample` keeps 256 of them: the same base in another precision has another `exact`,
    and a sample that agrees to one rounding in bfloat16. Weights in 4 bits count unpacked. `left_alone` is a sample of
    what loading in 4 bits leaves alone, embeddings, norms and biases: by that a base in 4 bits is compared with others.
    """

    layout: str
    dtype: str
    exact: str
    sample: tuple[float, ...]
    left_alone: tuple[float, ...] = ()
    packed: bool = False

    @classmethod
    def of(cls, model: nn.Module) -> "Fingerprint":
        factors = {id(p) for _, layer in lora_layers(model) for p in (layer.A, layer.B)}
        packed = {id(layer.weight): layer for _, layer in packed_layers(model)}
        tables = {id(p) for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        layout, exact, dtype = hashlib.sha256(), hashlib.sha256(), ""
        values, left_alone = [], []
        for name, p in model.named_parameters():
            if id(p) in factors:
                continue
            dense = dense_weight(packed[id(p)]) if id(p) in packed else gathered(p.detach())
            plain = name.replace(".base_layer.", ".").replace("_orig_mod.", "")
            layout.update(f"{plain} {tuple(dense.shape)}\n".encode())
            dtype = dtype or str(dense.dtype).removeprefix("torch.")
            values.append(_spaced(dense))
            exact.update(values[-1].numpy().tobytes())
            if p.ndim == 1 or id(p) in tables:
                left_alone.append(values[-1])
        samples = _sample(values), _sample(left_alone)
        return cls(layout.hexdigest(), dtype, exact.hexdigest(), *samples, bool(packed))

    @classmethod
    def from_json(cls, stored: dict) -> "Fingerprint":
        """Back from `asdict`. Raises KeyError or TypeError where something is missing or of another kind."""
        texts = stored["layout"], stored["dtype"], stored["exact"]
        sample, left_alone = tuple(stored["sample"]), tuple(stored.get("left_alone", ()))  # 0.1.0 had one sample
        if not all(isinstance(t, str) for t in texts) or not all(isinstance(x, float) for x in (*sample, *left_alone)):
            raise TypeError("three texts and two lists of numbers were written")
        return cls(*texts, sample, left_alone, bool(stored.get("packed") or stored.get("rounding")))

    def matches(self, other: "Fingerprint") -> bool:
        """Whether both are the same base, in whatever precision each was loaded.

        Where one is in 4 bits, a base that differs from it in the weights of linear layers alone is not told apart.
        """
        if self.layout != other.layout:
            return False
        if self.exact == other.exact:
            return True
        if self.packed or other.packed:
            return not self.left_alone or not other.left_alone or _close(self.left_alone, other.left_alone)
        return self.dtype != other.dtype and _close(self.sample, other.sample)


def _close(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether all values agree to one rounding in bfloat16."""
    if len(one) != len(other):
        return False
    a, b = torch.tensor(one), torch.tensor(other)
    return bool(((a - b).abs() <= 2**-7 * (torch.maximum(a.abs(), b.abs()) + 1e-5)).all())


def _spaced(p: Tensor) -> Tensor:
    flat = p.detach().flatten()
    return flat[:: max(1, flat.numel() // PER_TENSOR)][:PER_TENSOR].float().cpu()


def _sample(values: list[Tensor]) -> tuple[float, ...]:
    """256 evenly spaced values of all."""
    stream = torch.cat(values) if values else torch.empty(0)
    return tuple(stream[torch.linspace(0, max(0, len(stream) - 1), min(KEPT, len(stream))).long()].tolist())
