"""What a checkpoint holds of a run, and how a run goes back to it."""

import torch

from lorabook.errors import CheckpointError
from lorabook.training import checkpoint
from lorabook.training.checkpoint import Checkpoint
from lorabook.training.history import History


def taken(run) -> tuple[dict[str, torch.Tensor], dict]:
    """Tensors and JSON from which `put_back` makes `run` go on as it would have."""
    names = [n for n, _ in run.named]
    tensors = {f"model.{n}": p for n, p in run.named} | checkpoint.random_tensors()
    tensors |= checkpoint.optimizer_tensors(run.optimizer.optimizer, names)
    state = {
        "identity": run.identity,
        "history": run.history.to_json(),
        "elapsed": run.elapsed,
        "evaluation": run.evaluation,
        "splits": run.splits,
        "skips": run.skips,
        "scaler": run.accelerator.scaler.state_dict() if run.accelerator.scaler else None,
    }
    return tensors, state


def put_back(run, found: Checkpoint) -> None:
    """Bring `run`, set up with the settings and rows of the checkpoint's, to where the checkpoint was taken.

    Raises:
        CheckpointError: it is of a run with other settings, rows or weights; nothing was changed.
    """
    ours, theirs = run.identity, found.state["identity"]
    if differing := [k for k in ours if ours[k] != theirs.get(k)]:
        raise CheckpointError(
            f"The checkpoint in {found.folder} is of another run, with other {' and '.join(differing)}.",
            "Resume with the settings and rows it was started with, or choose another output folder.",
        )
    with torch.no_grad():
        for name, p in run.named:
            p.copy_(found.tensors[f"model.{name}"])
    if run.subspace:
        run.subspace.write()
    checkpoint.restore_optimizer(run.optimizer.optimizer, [n for n, _ in run.named], found.tensors)
    checkpoint.restore_random(found.tensors)
    if run.rank:  # the random state kept is that of the main process
        torch.manual_seed(run.config.seed + run.rank + run.world * len(found.state["history"]["steps"]))
    if run.accelerator.scaler and found.state["scaler"]:
        run.accelerator.scaler.load_state_dict(found.state["scaler"])
    run.history = History.from_json(found.state["history"])
    every = run.config.evaluate_every
    if run.history.stopped == "finished" and not (every and len(run.history.steps) % every == 0):
        run.history.held_out.pop()  # measured because the run ended there, and it goes on now
    run.elapsed, run.evaluation = found.state["elapsed"], found.state["evaluation"]
    run.splits, run.skips = found.state["splits"], found.state["skips"]
