"""How much a lead in recovery depends on the held-out answers: a bootstrap over them."""

import random
from collections.abc import Mapping, Sequence

from lorabook.training.evaluate import HeldOut

SAMPLES = 1000


def lead(losses: Mapping[str, Sequence[HeldOut]], first: str, second: str) -> tuple[float, float]:
    """By how much the recovery of `first` exceeds that of `second`: the middle 95% of samples of the answers.

    Recovery is (none - loss) / (none - all), each a mean over the sample's answer tokens.

    Args:
        losses: of each model, by name, its evaluation on each answer alone; of "none" and "all" among others.
        first, second: names in `losses`.
    """
    draw, count = random.Random(0), len(losses[first])
    leads = []
    for _ in range(SAMPLES):
        sample = draw.choices(range(count), k=count)
        sums = {name: sum(each[i].loss * each[i].tokens for i in sample) for name, each in losses.items()}
        leads.append((sums[second] - sums[first]) / (sums["none"] - sums["all"]))
    leads.sort()
    return leads[round(0.025 * SAMPLES)], leads[round(0.975 * SAMPLES)]
