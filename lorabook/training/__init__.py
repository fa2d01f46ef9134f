"""Training: one loop for LoRA, full fine-tuning, subspaces and bottleneck adapters."""

from lorabook.step.config import TrainConfig
from lorabook.training.history import History
from lorabook.training.loop import finetune

__all__ = ["History", "TrainConfig", "finetune"]
