"""The number formats of a device: one for the weights, one for the arithmetic."""

from dataclasses import dataclass

import torch

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
BFLOAT16_CAPABILITY = (8, 0)  # Ampere: the first CUDA generation with bfloat16 in hardware


@dataclass(frozen=True)
class Precision:
    """`weights`: dtype of the base model. `autocast`: dtype of the arithmetic, None for no autocast.

    `reason`: why, in one sentence for the reader.
    """

    weights: torch.dtype
    autocast: torch.dtype | None
    reason: str

    @property
    def scaler(self) -> bool:
        """Whether the loss is multiplied by a GradScaler: gradients underflow in fp16 alone."""
        return self.autocast == torch.float16


def cuda_capability(device: torch.device, capability: tuple[int, int] | None = None) -> tuple[int, int] | None:
    """Compute capability (major, minor) of a CUDA device; `capability` if it is given; None for any other device."""
    if device.type != "cuda":
        return None
    return capability or torch.cuda.get_device_capability(device)


def precision_for(device: str | torch.device, capability: tuple[int, int] | None = None) -> Precision:
    """The precision policy of a device.

    | device            | weights  | autocast | GradScaler |
    | ----------------- | -------- | -------- | ---------- |
    | CUDA, from (8, 0) | bfloat16 | bfloat16 | no         |
    | older, as a T4    | float16  | float16  | yes        |
    | CPU, MPS          | float32  | none     | no         |

    The capability decides, never `torch.cuda.is_bf16_supported()`: that function answers True on older GPUs too,
    where bfloat16 is emulated (pytorch issue 148322). `capability` stands in for the GPU's own.
    """
    device = torch.device(device)
    capability = cuda_capability(device, capability)
    if capability is None:
        return Precision(torch.float32, None, f"{device.type} computes in float32: safe, and small models fit.")
    which = f"capability {capability[0]}.{capability[1]}"
    if capability >= BFLOAT16_CAPABILITY:
        reason = f"This GPU ({which}) has bfloat16, whose range is float32's, so no loss scaling is needed."
        return Precision(torch.bfloat16, torch.bfloat16, reason)
    reason = f"This GPU ({which}) has no bfloat16; float16 gradients would underflow, so the loss is scaled."
    return Precision(torch.float16, torch.float16, reason)
