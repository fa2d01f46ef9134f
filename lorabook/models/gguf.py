"""GGUF, the file format of llama.cpp: its quantised weights become a folder in fp32 that Transformers loads.

A GGUF file holds weights, sizes and tokenizer in one. Its blocks of 4- or 8-bit integers are multiplied out once, and
the result is kept as an ordinary folder with safetensors beside the hub's cache. What comes out is not the original
model but the model as the integers rounded it, so it counts as a base of its own.
"""

import contextlib
import hashlib
import io
import math
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lorabook.atomic import usual_permissions
from lorabook.errors import ModelError, shown
from lorabook.models.folder import MOST_LAYERS

LAYOUT = 1  # part of the cache's key: raised when the folder that is written changes


def in_package(package: str) -> Path | None:
    """The GGUF file inside an installed package, found without importing it; None where there is none."""
    spec = find_spec(package)
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    return next((file for place in places for file in sorted(place.glob("*.gguf"))), None)


def count_weights(file: Path, name: str) -> int:
    """The parameters in a GGUF file, from its header.

    Raises:
        ModelError: it is no GGUF file, is damaged or cut short, or names more layers than lorabook takes; or the
            package that reads it is missing.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise ModelError(
            f"Reading {name} needs the package gguf, which cannot be imported ({error}).",
            "Install it: pip install gguf",
        ) from None
    try:
        with file.open("rb") as start:
            magic = start.read(4)
        if magic != b"GGUF":
            raise ValueError(f"it begins with {shown(magic)}")
        reader = GGUFReader(file)
        for key, value in reader.fields.items():
            if key.endswith(".block_count") and value.contents() > MOST_LAYERS:
                raise ValueError(f"it names {value.contents():,} layers, and lorabook takes {MOST_LAYERS:,} at most")
        if "general.architecture" not in reader.fields or not reader.tensors:
            raise ValueError("it names no architecture or holds no weights")
        return sum(math.prod(int(n) for n in tensor.shape) for tensor in reader.tensors)
    except Exception as error:  # whatever a stranger's bytes make the reader do
        raise _damaged(name, error) from error


def to_folder(file: Path, name: str) -> Path:
    """The folder with the weights of `file` in fp32 and its tokenizer; made on the first call, found on later ones.

    It lies in `lorabook/gguf` under huggingface_hub's HF_HOME, named by the hash of the file. Call `count_weights`
    first: it refuses what should not be opened.

    Raises:
        ModelError: Transformers cannot read the file, or the folder cannot be written.
    """
    from huggingface_hub import constants

    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    kept = Path(constants.HF_HOME) / "lorabook" / "gguf" / f"{digest[:32]}-{LAYOUT}"
    if kept.is_dir():
        return kept
    made = kept.with_name(f"{kept.name}-{os.getpid()}")
    try:
        made.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars, some of which have no switch
            _write(file, name, made)
        if not kept.is_dir():
            os.replace(made, kept)
    except OSError as error:
        if not kept.is_dir():  # another process was first: its folder is as good
            raise _unwritable(kept.parent, error) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return kept


def _write(file: Path, name: str, folder: Path) -> None:
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        place: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **place)
        with torch.random.fork_rng(devices=[]):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                file.parent, dtype=torch.float32, output_loading_info=True, **place
            )
        read, info = loaded
        if info["missing_keys"]:  # Transformers has drawn them at random
            raise ValueError(f"it lacks {min(info['missing_keys'])}")
        # The model that was read remembers that it was quantised and refuses to be saved: its weights move into a
        # plain one.
        settings = read.config.to_dict()
        settings.pop("quantization_config", None)
        with torch.device("meta"):
            plain = AutoModelForCausalLM.from_config(type(read.config).from_dict(settings))
        plain.load_state_dict(read.state_dict(), assign=True)
        plain.tie_weights()
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        raise _damaged(name, error) from error
    _split_digits(tokenizer, file)
    try:
        plain.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        usual_permissions(folder)
    except SafetensorError as error:  # what safetensors makes of a full disk
        raise OSError(str(error)) from error


def _split_digits(tokenizer: Any, file: Path) -> None:
    """Take every digit apart where the file asks for it: Transformers (5.24) does not know SmolLM's pre-tokenizer.

    Without it "\\n    7" would be split in another way than in pre-training. What a digit is, and the rest of the
    splitting, are those of the model's own tokenizer.json: digits one by one, then GPT-2's pattern.
    """
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(file).fields.get("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )


def _damaged(name: str, error: Exception) -> ModelError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return ModelError(
        f"{name} cannot be read as a GGUF file: {reason}",
        "Get the file again, or use one of an architecture that transformers reads from GGUF.",
    )


def _unwritable(folder: Path, error: OSError) -> ModelError:
    return ModelError(
        f"The weights in fp32 cannot be written to {folder} ({error.strerror or error}).",
        "Free some space there, or set HF_HOME to another place.",
    )
