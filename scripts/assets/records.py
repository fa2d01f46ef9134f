"""A JSON file of results that says what made it."""

import json
import platform
from pathlib import Path
from typing import Any

import torch
import transformers

import lorabook


def write(path: Path, script: str, found: dict[str, Any]) -> int:
    """Write `found` with the script's name and the versions it ran with, on one line. Returns the size in bytes."""
    versions = {"lorabook": lorabook.__version__, "torch": torch.__version__}
    versions |= {"transformers": transformers.__version__, "python": platform.python_version()}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"script": script, "versions": versions} | found, separators=(",", ":")) + "\n")
    return path.stat().st_size
