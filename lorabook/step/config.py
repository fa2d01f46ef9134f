"""The settings of a training run, among them the schedule of its learning rate."""

import math
from dataclasses import dataclass

from lorabook.errors import SettingError, is_number, is_whole, shown


@dataclass(frozen=True)
class TrainConfig:
    """How to train.

    Args:
        lr: peak learning rate of AdamW, reached after `warmup` (a share of the run), then lowered along a cosine to 0.
        epochs, steps, minutes: how long. `steps` goes before `epochs`; `minutes` ends the run earlier and fits the
            schedule to the time; with `minutes` alone, time decides. With none of them: one epoch.
        batch_tokens: tokens an optimizer step sees in each process, padding included; the effective batch.
        micro_tokens: tokens that pass the model at once, padding included. It bounds memory and changes no gradient.
        clip: largest norm of the gradient; 0 for no clipping.
        lora_plus: learning rate of B as a multiple of A's in linear layers (LoRA+, arXiv 2402.12354); None for equal.
        shard: each process holds its part of every parameter, for a base too large for one GPU (`training/shard.py`);
            under torchrun or accelerate launch.
        activation_checkpointing: recompute activations in the backward pass; None for "on CUDA".
        checkpoint_every: steps between checkpoints, where an output folder is given.
        log_every: steps between progress lines; 0 for none.
        evaluate_every: steps between measurements of the held-out loss; 0 for only before and after the run.
        seed: of the order of the examples and of dropout.
    """

    lr: float = 1e-3
    epochs: int | None = None
    steps: int | None = None
    minutes: float | None = None
    batch_tokens: int = 4096
    micro_tokens: int = 2048
    warmup: float = 0.05
    weight_decay: float = 0.0
    clip: float = 1.0
    lora_plus: float | None = None
    activation_checkpointing: bool | None = None
    shard: bool = False
    checkpoint_every: int = 50
    log_every: int = 10
    evaluate_every: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for names, required, fits in REQUIRED:
            for name in names:
                value, optional = getattr(self, name), getattr(type(self), name) is None
                if not (fits(value) or (optional and value is None)):
                    advice = f"Give {required}{', or leave it out' if optional else ''}."
                    raise SettingError(f"{name} is {shown(value)}.", advice)


COUNTS = ("epochs", "steps", "batch_tokens", "micro_tokens", "checkpoint_every")
REQUIRED = (  # names, what their values must be, whether a value is
    (("lr", "minutes", "lora_plus"), "a positive number", lambda v: is_number(v) and 0 < v < math.inf),
    (("weight_decay", "clip"), "0 or a positive number", lambda v: is_number(v) and 0 <= v < math.inf),
    (("warmup",), "a share of the run, such as 0.05", lambda v: is_number(v) and 0 <= v < 1),
    (COUNTS, "a whole number from 1 on", lambda v: is_whole(v, 1)),
    (("log_every", "evaluate_every"), "a whole number from 0 on", lambda v: is_whole(v, 0)),
    (("seed",), "a whole number from 0 to 2**63 - 1", lambda v: is_whole(v, 0, 2**63 - 1)),
)


def schedule(progress: float, warmup: float) -> float:
    """Learning-rate factor at `progress` in [0, 1] of the run: linear warm-up, then half a cosine down to 0."""
    if progress < warmup:
        return progress / warmup
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warmup) / (1 - warmup))))


def recommended_lr(parameters: int) -> float:
    """A peak learning rate for LoRA with alpha = 2 r on every linear layer, by the size of the base.

    | parameters        | rate | where it comes from                                                              |
    | ----------------- | ---- | -------------------------------------------------------------------------------- |
    | under 30 million  | 5e-3 | tried on pocket                                                                  |
    | under 500 million | 1e-3 | tried on smollm2 at r = 16: of 2e-4 to 4e-3, 0.006 nats from the best, 2e-3, and  |
    |                   |      | the safer one for longer runs (`smollm2_run.json`)                                |
    | more              | 5e-4 | not tried here: 27 of 28 models from 1 billion parameters on were best between    |
    |                   |      | 3e-4 and 1e-3 (`hyperparam_utils.py` in thinking-machines-lab/tinker-cookbook)    |
    """
    return 5e-3 if parameters < 30e6 else 1e-3 if parameters < 500e6 else 5e-4
