"""What swapping adapters by adding and subtracting does to a weight in half precision (Hu et al. 2021, section 4.1).

The paper switches tasks by subtracting B A from the merged weight and adding another B' A'. In exact arithmetic that
leaves W0 as it was. Here it is done in the weight's own precision, as loralib and PEFT write it.
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
def drift(W0: Tensor, deltas: Sequence[Tensor], swaps: int) -> Drift:
    """Swap `swaps` times, each an addition and a subtraction that rounds to W0's dtype, the deltas taken in turn.

    Args:
        W0: the weight, in fp16 or bf16. It is left alone.
        deltas: updates scaling * B A of W0's shape, in fp32.

    Raises:
        SettingError: adding the deltas rounds nothing (they are zero), so there is no unit.
    """
    rounding = torch.cat([(W0 + delta).to(W0.dtype).double() - (W0.double() + delta) for delta in deltas])
    if not rounding.any():
        raise SettingError("Adding these deltas to W0 rounds nothing.", "Give those of trained adapters.")
    W, errors = W0.clone(), []
    for n in range(swaps):
        W += deltas[n % len(deltas)]
        W -= deltas[n % len(deltas)]
        errors.append(W.double() - W0.double())
    return Drift(
        tuple((error.square().mean() / rounding.square().mean()).sqrt().item() for error in errors),
        tuple((error.abs().max() / rounding.abs().max()).item() for error in errors),
    )
