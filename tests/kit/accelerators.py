"""Accelerators that play, on one CPU in one process, what only a GPU or several processes bring."""

from typing import Any

import accelerate
import torch


class ScaledAccelerator(accelerate.Accelerator):
    """Accelerate with a real GradScaler on the CPU, whose arithmetic stays fp32: fp16 proper needs CUDA."""

    scale = 2.0**10

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=self.scale)

    def unscale_gradients(self, optimizer: Any = None) -> None:
        for each in self._optimizers:
            self.scaler.unscale_(each.optimizer)


class OneOfMany(accelerate.Accelerator):
    """Accelerate as the process `rank` of `world` sees it; what it gathers or reduces comes from itself alone."""

    rank, world = 0, 1
    process_index = property(lambda self: self.rank)  # pyright: ignore[reportAssignmentType]
    num_processes = property(lambda self: self.world)  # pyright: ignore[reportAssignmentType]
    is_main_process = property(lambda self: self.rank == 0)  # pyright: ignore[reportAssignmentType]


def use(monkeypatch, kind: type, **attributes: Any) -> None:
    """Have every run from here on use an accelerator of this kind."""
    monkeypatch.setattr(accelerate, "Accelerator", type(kind.__name__, (kind,), attributes))
