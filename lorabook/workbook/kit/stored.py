"""The stored results that ship with the book."""

import json
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def stored(room: str, name: str) -> Any:
    """What `assets/results/<room>/<name>.json` holds. It is shared: change nothing in it."""
    return json.loads(files("lorabook").joinpath("assets", "results", room, f"{name}.json").read_text(encoding="utf-8"))
