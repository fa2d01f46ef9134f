"""The stored losses of notebook 03's runs at many learning rates."""

from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from lorabook.workbook.kit.stored import stored


@dataclass(frozen=True)
class Valley:
    """LoRA with one rank and alpha: its final held-out losses by learning rate, one for each seed."""

    r: int
    alpha: int
    losses: dict[float, list[float]]

    @cached_property
    def means(self) -> dict[float, float]:
        """The mean loss over the seeds, by learning rate."""
        return {lr: fmean(seeds) for lr, seeds in self.losses.items()}

    @property
    def best_lr(self) -> float:
        """The learning rate with the lowest mean loss."""
        return min(self.means, key=self.means.__getitem__)

    @property
    def best_loss(self) -> float:
        """The mean loss at that rate."""
        return self.means[self.best_lr]


def valley(r: int, alpha: int) -> Valley:
    """The runs with this rank, 1, 16 or 64, and this alpha: 2 or 32, at r = 16 also 8 or 128, at r = 64 also 128."""
    runs = {(c["r"], c["alpha"]): c["losses"] for c in stored("rank_and_alpha", "rate_valleys")["configurations"]}
    return Valley(r, alpha, {float(lr): seeds for lr, seeds in runs[r, alpha].items()})
