"""What swapping merged adapters does to a weight in half precision (Hu et al. 2021, section 4.1).

The paper switches tasks by subtracting B A from the merged weight and adding another B' A'. In exact arithmetic that
leaves W0 as it was. Here it is done in the weight's own precision, as loralib and PEFT do it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lorabook.errors import SettingError


@dataclass(frozen=True)
class Drift:
    """How far a weight is from W0 after every swap, over all its entries: root mean square and largest.

    The unit of each is what one merge loses by rounding: the same measure of round(W0 + delta) - (W0 + delta).
    """

    rms: tuple[float, ...]
    largest: tuple[float, ...]


@torch.no_grad()
def drift(W0: Tensor, deltas: Sequence[Tensor], swaps: int, round_back: bool = False) -> Drift:
    """Swap `swaps` times: add a delta and subtract it again, rounding to W0's dtype both times, the deltas in turn.

    Args:
        W0: the weight, in fp16 or bf16. It is left alone.
        deltas: updates scaling * B A of W0's shape, in fp32.
        round_back: round the delta itself to W0's dtype before it is subtracted, as PEFT 0.21 does, whose merge adds it
            unrounded. False subtracts what was added, as loralib does.

    Raises:
        SettingError: adding the deltas rounds nothing (they are zero), so there is no unit.
    """
    rounding = torch.stack([(W0 + delta).to(W0.dtype).double() - (W0.double() + delta) for delta in deltas])
    if not rounding.any():
        raise SettingError("Adding these deltas to W0 rounds nothing.", "Give those of trained adapters.")
    unit_rms, unit_largest = rounding.square().mean().sqrt(), rounding.abs().max()
    W, rms, largest = W0.clone(), [], []
    for n in range(swaps):
        delta = deltas[n % len(deltas)]
        W += delta
        W -= delta.to(W.dtype) if round_back else delta
        error = W.double() - W0.double()
        rms.append((error.square().mean().sqrt() / unit_rms).item())
        largest.append((error.abs().max() / unit_largest).item())
    return Drift(tuple(rms), tuple(largest))
