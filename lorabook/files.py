"""Small files that are there whole or not at all."""

import contextlib
import os
from pathlib import Path


def replace_text(path: str | Path, text: str) -> None:
    """Write `text` to `path`, whose folder is made: under another name first, then renamed over what was there.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "w", encoding="utf-8") as f:
            f.write(text)
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
