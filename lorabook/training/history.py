"""What a training run recorded."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean

from lorabook.atomic import replace_text

FEW_STEPS = 8  # under which a flat or a climbing loss says nothing
CLIMB = 0.5  # nats per answer token by which a loss that climbs has left where it began


@dataclass(frozen=True)
class Step:
    """One optimizer step: `loss` is the mean over its answer tokens in nats, before the step was taken.

    `tokens` counts real input tokens, `label_tokens` the answer tokens among them, both over all processes;
    `grad_norm` is taken before clipping; `peak_bytes` is the highest memory use so far, on a GPU since the run began;
    `skipped` tells that the loss scaler found an overflow and left the weights alone.
    """

    step: int
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    label_tokens: int
    seconds: float
    peak_bytes: int
    skipped: bool = False


@dataclass
class History:
    """A run's steps, the held-out losses as (step, nats per answer token), and how it ended.

    `stopped` is "finished", "interrupted" (Ctrl-C, the kernel's stop button), "failed: " and the reason, or "running"
    in a checkpoint.
    """

    steps: list[Step] = field(default_factory=list)
    held_out: list[tuple[int, float]] = field(default_factory=list)
    stopped: str = "running"

    @property
    def losses(self) -> list[float]:
        return [s.loss for s in self.steps]

    @property
    def tokens(self) -> int:
        return sum(s.tokens for s in self.steps)

    @property
    def tokens_per_second(self) -> float:
        """Real input tokens per second of training, evaluation not counted."""
        return self.tokens / max(1e-9, sum(s.seconds for s in self.steps))

    @property
    def peak_bytes(self) -> int:
        return max((s.peak_bytes for s in self.steps), default=0)

    def climbed(self) -> bool:
        """Whether the training loss, a mean over the last eighth of the steps, is well above where the run began."""
        losses, width = self.losses, max(2, len(self.steps) // 8)
        began = max([fmean(losses[:width]), *(loss for _, loss in self.held_out[:1])]) if losses else 0.0
        return len(losses) >= FEW_STEPS and fmean(losses[-width:]) - began > CLIMB

    def to_json(self) -> dict:
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict) -> "History":
        """Back from `to_json`. Raises KeyError or TypeError where something is missing or of another kind."""
        if not isinstance(stored["stopped"], str):
            raise TypeError(f"stopped is {stored['stopped']!r}")
        return cls(
            [Step(**s) for s in stored["steps"]],
            [(int(s), float(loss)) for s, loss in stored["held_out"]],
            stored["stopped"],
        )

    def save(self, path: str | Path) -> None:
        """Write as JSON, the file replaced whole or not at all."""
        replace_text(path, json.dumps(self.to_json()))
