"""What this machine can run: its versions, device, memory, and what is missing for StarCoder."""

import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import psutil
import torch

from lorabook.errors import LicenceError, LorabookError, NetworkError, NoTokenError
from lorabook.models.hub import UNGATED, find_token
from lorabook.models.known import KNOWN
from lorabook.models.load import preflight
from lorabook.models.precision import precision_for

STARCODER = "bigcode/starcoderbase-1b"
GIB = 2**30
LEAST_GPU_GIB = 8  # 2.1 GiB of 16-bit weights, the adapter, and activations with checkpointing


def examine(model: str = STARCODER) -> list[str]:
    """Lines of `name: value` on this machine: versions, device, memory, disk, access to `model`, and what runs here.

    Asks the hub for `model` and for smollm2, and downloads nothing.
    """
    device = torch.device(
        "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    )
    gpu_bytes = torch.cuda.get_device_properties(0).total_memory if device.type == "cuda" else 0
    gpu = f"{torch.cuda.get_device_name(0)}, {gpu_bytes / GIB:.2f} GiB" if gpu_bytes else "none"
    disk, needed = shutil.disk_usage(Path.home()).free, KNOWN[model].download_bytes
    token, licence, network, reached = _access(model)
    missing = [
        what
        for what, there in (
            (f"a GPU with at least {LEAST_GPU_GIB} GiB", gpu_bytes >= LEAST_GPU_GIB * GIB),
            (f"{needed / GIB:.1f} GiB of free disk", disk >= needed),
            ("an access token (HF_TOKEN)", token == "found" or reached),
            (f"the licence, accepted at https://huggingface.co/{model}", licence != "not accepted"),
            ("a network", network == "reached" or reached),
        )
        if not there
    ]
    return [
        f"python: {platform.python_version()}",
        f"versions: torch {torch.__version__.split('+')[0]}, transformers {version('transformers')}",
        f"GPU: {gpu}",
        f"precision: {precision_for(device).reason}",
        f"memory: {psutil.virtual_memory().total / GIB:.1f} GiB, {os.cpu_count()} CPU cores",
        f"free disk: {disk / GIB:.1f} GiB",
        f"token: {token}; licence of {model}: {licence}; network: {network}",
        "runs here: pocket (every notebook, no network needed)",
        _smollm2(),
        f"runs here: {model}" if not missing else f"not gated: {UNGATED}, on a GPU or patiently on a CPU",
        f"missing for {model}: {', '.join(missing) or 'nothing'}",
    ]


def _access(model: str) -> tuple[str, str, str, bool]:
    """Token, licence and network in a word each, and whether `model` can be had."""
    try:
        token = "found" if find_token() else "none"
        preflight(model)
    except NoTokenError:
        return "none or not valid", "unknown", "reached", False
    except LicenceError:
        return "found", "not accepted", "reached", False
    except NetworkError:
        return token, "unknown", "not reached", False
    except LorabookError as error:
        return token, "unknown", f"reached ({error.problem})", False
    return token, "accepted", "reached", True


def _smollm2() -> str:
    try:
        source = preflight("smollm2")
    except LorabookError as error:
        return f"not here: smollm2. {error.advice}"
    if source.gguf:
        place = f"from the package {source.revision}"
    else:
        place = "on this machine" if source.folder else "from the hub"
    return f"runs here: smollm2 ({place})"
