"""The folder of a run, which keeps what outlives it: `run.json`, checkpoints, `history.json`."""

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from lorabook.atomic import only_writer
from lorabook.errors import CheckpointError
from lorabook.training import checkpoint
from lorabook.training.checkpoint import Checkpoint
from lorabook.training.history import History
from lorabook.training.record import RunRecord


class RunFolder:
    """The output folder of a run, and a second one that gets a copy of every checkpoint; None for either.

    `writes` tells whether this process writes to them: of several, only the main one does, and all of them read.
    """

    def __init__(self, output: str | Path | None, copy_to: str | Path | None, is_main: bool):
        self.output, self.copy_to = Path(output or ""), copy_to
        self.checkpoints = self.output / "checkpoints"
        self.exists, self.writes = output is not None, output is not None and is_main

    def only_writer(self) -> contextlib.AbstractContextManager[None]:
        """Within the block no other run writes here. Raises SettingError where one does."""
        return only_writer(self.output) if self.writes else contextlib.nullcontext()

    def newest_checkpoint(self) -> Checkpoint | None:
        """The newest whole checkpoint of both folders. Raises CheckpointError where all of them are damaged."""
        folders = [self.checkpoints, *([self.copy_to] if self.copy_to else [])]
        return checkpoint.latest(*folders) if self.exists else None

    def save_record(self, record: RunRecord) -> None:
        """Write `run.json`, the first file of a run. Raises CheckpointError if it cannot be written."""
        try:
            record.save(self.output)
        except OSError as error:
            raise CheckpointError(
                f"{self.output} cannot be written ({error}).", "Choose another output folder, or make space."
            ) from error

    def save_checkpoint(self, step: int, tensors: Mapping[str, Tensor], state: dict) -> None:
        """Write a checkpoint, then its copy. If that fails, warn: the run is still in memory, so it goes on."""
        try:
            place = checkpoint.write(self.checkpoints, step, tensors, state)
            if self.copy_to:
                checkpoint.copy(place, self.copy_to)
        except CheckpointError as error:
            warnings.warn(f"{error} The run goes on without it.", stacklevel=2)

    def save_history(self, history: History) -> None:
        """Write `history.json`. If that fails, as on a full disk, warn: the run itself is not lost by it."""
        try:
            history.save(self.output / "history.json")
        except OSError as error:
            warnings.warn(f"history.json could not be written to {self.output} ({error}).", stacklevel=2)
