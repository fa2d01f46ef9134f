"""The log of a run that Hugging Face's Trainer keeps in `trainer_state.json`; TRL's trainers are built on it."""

import math
import re
from pathlib import Path
from typing import NamedTuple

from lorabook.diagnosis.adapter_folder import read_json
from lorabook.training.history import History, Step

STATE = "trainer_state.json"


class TrainerLog(NamedTuple):
    """`history` has a step for every loss logged, which is the mean since the one before.

    A step is `skipped` whose gradient's norm was not finite, as a loss scaler does. `epochs` are the passes over the
    examples. `writer` is "Trainer" or "TRL".
    """

    history: History
    epochs: float
    writer: str


def places(folder: Path) -> list[Path]:
    """Where a run in `folder` may have its files: the folder, then its `checkpoint-N` folders, the newest first."""
    found = [(int(m[1]), p) for p in folder.glob("checkpoint-*") if (m := re.fullmatch(r"checkpoint-(\d+)", p.name))]
    return [folder, *(place for _, place in sorted(found, reverse=True))]


def read_log(folder: Path) -> TrainerLog | None:
    """The longest log in `folder` and its checkpoints, or None where there is none.

    Raises:
        CheckpointError: a file cannot be read.
        KeyError, TypeError, ValueError, AttributeError: it is not what Trainer writes.
    """
    states = [state for place in places(folder) if (state := read_json(place / STATE)) is not None]
    if not states:
        return None
    state = max(states, key=lambda state: state["global_step"])
    history, entries = History(stopped=f"{state['global_step']:,} of {state['max_steps']:,} done"), state["log_history"]
    # where there are several evaluation sets, of the first
    held_out = next((key for entry in entries for key in entry if re.fullmatch(r"eval_(.+_)?loss", key)), "")
    for entry in entries:
        if "loss" in entry:
            norm = float(entry.get("grad_norm", math.nan))  # Transformers before 4.38 logged none
            skipped = "grad_norm" in entry and not math.isfinite(norm)
            rate = float(entry.get("learning_rate", math.nan))
            # tokens, seconds and bytes, which are not in every log, are not needed
            history.steps.append(Step(entry["step"], float(entry["loss"]), rate, norm, 0, 0, 0.0, 0, skipped))
        elif held_out in entry:
            history.held_out.append((entry["step"], float(entry[held_out])))
    trl = any("num_tokens" in entry for entry in entries)
    return TrainerLog(history, float(state["epoch"] or 0), "TRL" if trl else "Trainer")
