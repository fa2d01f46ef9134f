"""What a training run left in its folder, by whatever program: what `findings` looks at."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lorabook.diagnosis.adapter_folder import Adapter, Factor, read_json
from lorabook.diagnosis.trainer_log import STATE, places, read_log
from lorabook.errors import CheckpointError, LorabookError, SettingError
from lorabook.peft_format.adapter_config import CONFIG_NAME
from lorabook.peft_format.fingerprint import Fingerprint
from lorabook.training import checkpoint
from lorabook.training.history import History
from lorabook.training.record import FILE, RunRecord

WHERE = "Give the folder that `lorabook finetune`, PEFT, Trainer or TRL wrote."


class Norms(NamedTuple):
    """Euclidean norms of a LoRA layer's factors after the last step. `embedding`: here A starts at zero, not B."""

    A: float
    B: float
    embedding: bool

    @property
    def from_zero(self) -> float:
        """Of the factor that starts at zero."""
        return self.A if self.embedding else self.B

    @property
    def drawn(self) -> float:
        """Of the factor that is drawn at random."""
        return self.B if self.embedding else self.A


@dataclass(frozen=True)
class Run:
    """What a run leaves: its History, what went into it, its factors' norms by layer, the base they were saved on.

    `writer` is "lorabook", "Trainer", "TRL", or "PEFT" for an adapter on its own, which has an empty History. `epochs`
    are the passes over the rows, where a log tells. `adapter` is the adapter as it lies in the folder.
    """

    history: History
    record: RunRecord | None = None
    factors: dict[str, Norms] | None = None
    saved_on: Fingerprint | None = None
    writer: str = "lorabook"
    epochs: float | None = None
    adapter: Adapter | None = field(default=None, compare=False)

    @property
    def passes(self) -> float | None:
        """Over the rows, where that is known."""
        return len(self.history.steps) / self.record.epoch if self.record else self.epochs

    def to_json(self) -> dict:
        """What `finetune` left, without the adapter itself."""
        stored = asdict(replace(self, adapter=None))
        return {name: stored[name] for name in ("history", "record", "factors", "saved_on")}

    @classmethod
    def from_json(cls, stored: dict) -> "Run":
        factors, record, saved_on = stored["factors"], stored["record"], stored["saved_on"]
        return cls(
            History.from_json(stored["history"]),
            RunRecord.from_json(record) if record else None,
            {name: Norms(*norms) for name, norms in factors.items()} if factors else None,
            Fingerprint.from_json(saved_on) if saved_on else None,
        )


def read_run(folder: str | Path) -> Run:
    """What the run in `folder` left: finished, interrupted or failed, by lorabook, PEFT, Trainer or TRL.

    The longest log counts, of the folder's and its newest checkpoints'; a checkpoint's factors where no adapter was
    saved.

    Raises:
        SettingError: there is no such folder, or no run and no adapter in it.
        CheckpointError, AdapterError: a file of it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SettingError(f"There is no folder {folder}.", WHERE)
    kept = checkpoint.latest(folder / "checkpoints")
    try:
        histories = [read_json(folder / "history.json"), kept.state["history"] if kept else None]
        read = [History.from_json(stored) for stored in histories if stored]
        record = read_json(folder / FILE)
        log = None if read else read_log(folder)
        adapter = next((found for place in places(folder) if (found := Adapter.of(place))), None)
        if read:
            longest = max(read, key=lambda history: len(history.steps))
            run = Run(longest, RunRecord.from_json(record) if record else None)
        elif log:
            run = Run(log.history, writer=log.writer, epochs=log.epochs)
        elif adapter:
            run = Run(History(), writer="PEFT")
        else:
            raise SettingError(
                f"There is no run or adapter in {folder}: no history.json of lorabook's, no {STATE} of Trainer's or "
                f"TRL's, no {CONFIG_NAME} of PEFT's, neither there nor in a checkpoint.",
                WHERE,
            )
    except LorabookError:  # some are ValueErrors
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(
            f"A file of the run in {folder} is not what was written ({error!r}).", "Look at another run."
        ) from None
    if adapter and adapter.tensors is not None:
        return replace(run, factors=_norms(adapter.factors), saved_on=adapter.saved_on, adapter=adapter)
    return replace(run, factors=_norms(_of_checkpoint(kept.tensors, run.record)) if kept else None, adapter=adapter)


def _of_checkpoint(tensors: dict[str, Tensor], record: RunRecord | None) -> Iterator[Factor]:
    for key, tensor in tensors.items():
        name, _, which = key.removeprefix("model.").rpartition(".")
        if key.startswith("model.") and which in ("A", "B"):
            yield Factor(name, which, record is not None and name not in record.scalings, tensor)


def _norms(factors: Iterable[Factor]) -> dict[str, Norms]:
    found: dict[str, dict[str, Any]] = {}
    for name, which, embedding, values in factors:
        if values.numel():  # DeepSpeed leaves empty ones, if not gathered
            found.setdefault(name, {"embedding": embedding})[which] = float(values.float().norm())
    return {name: Norms(**pair) for name, pair in found.items() if len(pair) == 3}
