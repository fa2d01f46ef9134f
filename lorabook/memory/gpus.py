"""Which GPUs have room for a predicted peak, and the largest batch that fits."""

from dataclasses import replace
from typing import TYPE_CHECKING

from lorabook.errors import SettingError
from lorabook.memory.estimate import estimate
from lorabook.memory.families import shape_of
from lorabook.memory.plan import Plan
from lorabook.memory.shape import Shape

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

GIB = 2**30
# Bytes that PyTorch can use. The T4's are what PyTorch reports on one, of 16 GB sold. The others are nominal: the GB
# on the box taken as GiB, of which a driver keeps a few hundred MiB.
CARDS = {
    "T4": 59 * GIB // 4,  # 14.75 GiB
    "RTX 3060": 12 * GIB,
    "L4": 24 * GIB,
    "RTX 4090": 24 * GIB,
    "A100 40 GB": 40 * GIB,
}
MOST_ROWS = 2**24


def fits(peak: int) -> list[str]:
    """The cards whose memory holds `peak` bytes.

    Nothing is set aside for the CUDA context and the work space of matrix libraries: they take some hundred MiB that
    differ between cards and versions. A peak within 1 GiB of a card's size is a gamble.
    """
    return [card for card, size in CARDS.items() if peak <= size]


def largest_batch(model: "str | Shape | PreTrainedConfig", plan: Plan, card_bytes: int) -> int:
    """The most rows whose predicted peak is at most `card_bytes`, everything else as in `plan`; 0 if one is too many.

    Label tokens grow with the rows where `plan.labels` gives their number.

    Raises:
        SettingError: `card_bytes` is not positive; whatever `ledger` refuses.
    """
    if card_bytes <= 0:
        raise SettingError(
            f"card_bytes is {card_bytes!r}.", "Give the card's memory in bytes, for example CARDS['T4']."
        )
    shape = shape_of(model)

    def too_large(rows: int) -> bool:
        labels = None if plan.labels is None else plan.labels * rows // plan.batch
        return estimate(shape, replace(plan, batch=rows, labels=labels)).predicted_peak > card_bytes

    fitting, failing = 0, 1
    while not too_large(failing) and failing < MOST_ROWS:
        fitting, failing = failing, 2 * failing
    while failing - fitting > 1:
        middle = (fitting + failing) // 2
        fitting, failing = (fitting, middle) if too_large(middle) else (middle, failing)
    return fitting
