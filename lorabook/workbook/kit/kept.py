"""What a reader did, kept in a JSON file that outlives the kernel: in `runs`, beside the notebooks."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from lorabook.atomic import only_writer, replace_text
from lorabook.errors import SettingError


def kept_file(name: str) -> Path:
    """In the folder that holds notebook 09's runs: `runs` beside the notebook, or beside LORABOOK_OUTPUT."""
    return Path(os.environ.get("LORABOOK_OUTPUT", "runs/final")).parent / name


def read(name: str) -> dict[str, Any]:
    """What is kept. A file that is missing or spoiled holds nothing."""
    try:
        content = json.loads(kept_file(name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def keep(name: str, key: str, value: Any) -> None:
    """Keep `value` under `key`; None takes it back. Where nothing is kept there is no file.

    A file that cannot be written is left out without a word: nothing in a notebook depends on it.
    """
    file = kept_file(name)
    if value is None and not file.exists():
        return
    with (
        contextlib.suppress(OSError, SettingError),
        only_writer(file.parent, wait=10),
    ):  # the notebook may be open twice
        kept = {k: v for k, v in (read(name) | {key: value}).items() if v is not None}
        if kept:
            replace_text(file, json.dumps(kept, indent=1))
        else:
            file.unlink(missing_ok=True)
