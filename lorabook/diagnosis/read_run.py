"""What a training run left in its folder: what `findings` looks at."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from lorabook.errors import CheckpointError, SettingError
from lorabook.peft_format import adapter_file
from lorabook.peft_format.fingerprint import Fingerprint
from lorabook.training import checkpoint
from lorabook.training.history import History
from lorabook.training.record import FILE, RunRecord

WHERE = "Give the folder that `finetune` had as its output."


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
    """What a run leaves: its History, what went into it, its factors' norms by layer, the base they were saved on."""

    history: History
    record: RunRecord | None = None
    factors: dict[str, Norms] | None = None
    saved_on: Fingerprint | None = None

    def to_json(self) -> dict:
        return asdict(self)

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
    """What the run in `folder`, given to `finetune` as its output, left: finished, interrupted or failed.

    The longer History counts, of `history.json` and the newest checkpoint; the checkpoint's factors where no adapter
    was saved.

    Raises:
        SettingError: there is no such folder, or no run in it.
        CheckpointError, AdapterError: a file of it cannot be read.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SettingError(f"There is no folder {folder}.", WHERE)
    kept = checkpoint.latest(folder / "checkpoints")
    try:
        histories = [_read(folder / "history.json"), kept.state["history"] if kept else None]
        read = [History.from_json(stored) for stored in histories if stored]
        if not read:
            raise SettingError(f"There is no run in {folder}: neither history.json nor a checkpoint.", WHERE)
        record = _read(folder / FILE)
        longest = max(read, key=lambda history: len(history.steps))
        run = Run(longest, RunRecord.from_json(record) if record else None)
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"A file of the run in {folder} is not what was written ({error!r}).", "Look at another run."
        ) from None
    weights = folder / adapter_file.WEIGHTS_NAME
    if not weights.exists():
        return replace(run, factors=_norms(_of_checkpoint(kept.tensors, run.record)) if kept else None)
    tensors, header = adapter_file.read_tensors(weights)
    return replace(run, factors=_norms(_of_file(tensors)), saved_on=adapter_file.base_in(header))


Factor = tuple[str, str, bool, Tensor]  # layer, "A" or "B", whether of an embedding, values


def _of_file(tensors: dict[str, Tensor]) -> Iterator[Factor]:
    for key, tensor in tensors.items():
        for suffix, (factor, embedding) in adapter_file.FACTORS.items():
            if key.endswith(f".{suffix}"):
                name = key.removeprefix(adapter_file.PREFIX).removesuffix(f".{suffix}")
                yield name, factor, embedding, tensor


def _of_checkpoint(tensors: dict[str, Tensor], record: RunRecord | None) -> Iterator[Factor]:
    for key, tensor in tensors.items():
        name, _, factor = key.removeprefix("model.").rpartition(".")
        if key.startswith("model.") and factor in ("A", "B"):
            yield name, factor, record is not None and name not in record.scalings, tensor


def _norms(factors: Iterable[Factor]) -> dict[str, Norms]:
    found: dict[str, dict[str, Any]] = {}
    for name, factor, embedding, tensor in factors:
        found.setdefault(name, {"embedding": embedding})[factor] = float(tensor.float().norm())
    return {name: Norms(**pair) for name, pair in found.items() if len(pair) == 3}


def _read(path: Path) -> dict | None:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}).", "Look at another run.") from None
