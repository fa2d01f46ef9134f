"""The stored runs of notebook 03's three configurations at many learning rates."""

from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from lorabook.workbook.kit.stored import stored


@dataclass(frozen=True)
class Valley:
    """One configuration: the learning rate it `raced` at, and its final held-out losses by rate, one for each seed."""

    r: int
    alpha: int
    raced: float
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


def three_valleys() -> dict[str, Valley]:
    """By name: Large, Medium, Small."""
    found = stored("rank_and_alpha", "three_valleys")["configurations"]
    return {
        name: Valley(c["r"], c["alpha"], c["raced"], {float(lr): seeds for lr, seeds in c["losses"].items()})
        for name, c in found.items()
    }
