"""Lines of text for whoever is watching, which never end a run: not when nobody listens any more, nor for a letter."""

import contextlib
import os
import sys
from typing import Any


def say(text: str, bar: Any = None, end: str = "\n") -> None:
    """Print a line to standard output at once, above the progress bar `bar` if there is one.

    What the output cannot encode is replaced. Where the reading end of a pipe has been closed (`| head`), everything
    said from then on goes nowhere.
    """
    out = sys.stdout
    if out is None:  # a program without a console, or one that was told to be silent
        return
    encoding = getattr(out, "encoding", None) or "utf-8"
    text = text.encode(encoding, "replace").decode(encoding)
    try:
        if bar is None:
            print(text, end=end, flush=True)
        else:
            bar.write(text, file=out)
            out.flush()
    except (BrokenPipeError, ValueError):  # ValueError: the stream is closed altogether
        _silence(out)


def _silence(out: Any) -> None:
    """Let standard output lead nowhere, also for what is left in its buffer when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, out.fileno())
    except (OSError, ValueError, AttributeError):  # no file of the system's behind it
        with contextlib.suppress(OSError):
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    finally:
        os.close(nowhere)
