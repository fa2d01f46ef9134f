"""What notebook 04 says of two updates, answer by answer: how sure a lead is, and whether both gain at one place."""

import random
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorabook.data.examples import Example
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


def correlation_of_gains(before: nn.Module, one: nn.Module, other: nn.Module, examples: Sequence[Example]) -> float:
    """The correlation, over all answer tokens, of what `one` and `other` gain in loss over the model `before`."""

    def losses(model: nn.Module) -> Tensor:
        found = []
        for example in examples:
            ids = torch.tensor(example.input_ids)
            logits = model(input_ids=ids[None]).logits[0].float()
            found.append(F.cross_entropy(logits[:-1], ids[1:], reduction="none")[example.answer_start - 1 :])
        return torch.cat(found)

    with torch.no_grad():
        gains = torch.stack([losses(before) - losses(model) for model in (one, other)])
    return torch.corrcoef(gains)[0, 1].item()
