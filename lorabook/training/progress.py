"""What a run shows of its progress: a bar, a line every few steps, the memory it has used so far."""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any, TypeVar

import torch

from lorabook.training.history import History

T = TypeVar("T")


def progress_bar(total: int | None, initial: int, main: bool):
    """A progress bar where someone can see it: below a notebook's cell, in a terminal, nothing in a log file.

    It is text, so that a saved notebook keeps its last state. In a notebook, what goes to stderr would be red.
    """
    from tqdm import tqdm

    notebook = type(sys.stdout).__module__.startswith("ipykernel")
    shown = main and (notebook or sys.stderr.isatty())
    file = sys.stdout if notebook else sys.stderr
    return tqdm(total=total, initial=initial, unit="step", file=file, disable=not shown)


def measuring(batches: Sequence[T]) -> Iterable[T]:
    """`batches`, under a bar that a terminal shows after a second and that goes when they are done."""
    from tqdm import tqdm

    shown = "ipykernel" not in sys.modules and sys.stderr.isatty()
    return tqdm(batches, desc="held-out loss", unit="batch", delay=1, leave=False, disable=not shown)


@contextlib.contextmanager
def writing(tokens: int) -> Iterator[Any]:
    """A `streamer` for `generate` that counts new tokens, of at most `tokens`, under a bar as that of `measuring`; None
    where nobody would see it.
    """
    if "ipykernel" in sys.modules or not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm

    def count(ids: torch.Tensor) -> None:
        if ids.ndim == 1:  # one token of every row; the prompts (B, S) come first
            bar.update(len(ids))

    with tqdm(total=tokens, desc="answers", unit="token", delay=1, leave=False) as bar:
        yield SimpleNamespace(put=count, end=lambda: None)


def progress_line(history: History, total: int | None) -> str:
    """The last step in one line."""
    last, of = history.steps[-1], f"/{total}" if total else ""
    return (
        f"step {last.step}{of}  loss {last.loss:.3f}  lr {last.lr:.1e}  "
        f"{history.tokens_per_second:,.0f} tokens/s  peak {last.peak_bytes / 2**30:.2f} GiB"
    )


def forget_peak(device: torch.device) -> None:
    """Let `peak_bytes` begin anew, if `device` is a GPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device) -> int:
    """The highest memory use: of CUDA's allocator since `forget_peak`, else of the whole process (0 where unknown)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
