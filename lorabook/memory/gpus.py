"""Which GPUs have room for a training step, with how large a batch."""

from dataclasses import replace

from lorabook.errors import SettingError
from lorabook.memory.estimate import estimate
from lorabook.memory.families import ModelLike, shape_of
from lorabook.memory.plan import Plan

GIB = 2**30
# Bytes that PyTorch can use: the total that it reports on such a GPU (`torch.cuda.get_device_properties`, and messages
# of CUDA out of memory), rounded down to a quarter of a GiB. It's less than the GB on the box.
GPUS = {
    "T4": 59 * GIB // 4,  # 14.75 GiB
    "RTX 3060": 47 * GIB // 4,  # 11.75
    "L4": 22 * GIB,
    "RTX 4090": 47 * GIB // 2,  # 23.5
    "A100 40 GB": 157 * GIB // 4,  # 39.25
}
# Left free: the CUDA context and the work space of matrix libraries take some hundred MiB that differ between GPUs and
# versions, and PyTorch's allocator leaves gaps.
SPARE = GIB
LARGEST_BATCH = 2**24  # where the search ends


def fits(peak: int) -> list[str]:
    """The GPUs whose memory holds `peak` bytes, and `SPARE` more."""
    return [gpu for gpu, size in GPUS.items() if peak + SPARE <= size]


def tight(peak: int) -> list[str]:
    """The GPUs whose memory holds `peak` bytes, but not `SPARE` more: a gamble."""
    return [gpu for gpu, size in GPUS.items() if peak <= size < peak + SPARE]


def largest_batch(model: ModelLike, plan: Plan, gpu_bytes: int) -> int:
    """The largest batch whose predicted peak is at most `gpu_bytes`, all else as in `plan`; 0 if one is too large.

    Label tokens grow with the batch where `plan.labels` gives their number.

    Raises:
        SettingError: `gpu_bytes` is not positive; whatever `estimate` refuses.
    """
    if gpu_bytes <= 0:
        raise SettingError(f"gpu_bytes is {gpu_bytes!r}.", "Give the GPU's memory in bytes, for example GPUS['T4'].")
    shape = shape_of(model)

    def too_large(batch: int) -> bool:
        labels = None if plan.labels is None else plan.labels * batch // plan.batch
        return estimate(shape, replace(plan, batch=batch, labels=labels)).predicted_peak > gpu_bytes

    fitting, failing = 0, 1
    while not too_large(failing) and failing < LARGEST_BATCH:
        fitting, failing = failing, 2 * failing
    while failing - fitting > 1:
        middle = (fitting + failing) // 2
        fitting, failing = (fitting, middle) if too_large(middle) else (middle, failing)
    return fitting
