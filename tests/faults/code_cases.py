"""Files that would run code if they were opened the usual way: model folders and checkpoints. None is."""

import json
import os
import pickle
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file

from lorabook.errors import LorabookError
from lorabook.models import load_model
from lorabook.training import checkpoint
from tests.faults.adapter_cases import Trap
from tests.faults.rows import Row
from tests.kit.families import save_model

CODE = """
import os
os.mkdir(os.environ["FAULTS_TRAP"])
from transformers import GPT2Config as Config, GPT2LMHeadModel as Model, GPT2Tokenizer as Tokenizer
"""
CLASSES = {
    "AutoConfig": "modeling.Config",
    "AutoModelForCausalLM": "modeling.Model",
    "AutoTokenizer": "modeling.Tokenizer",
}


def _edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps((json.loads(path.read_text()) if path.exists() else {}) | changes))


def auto_map(folder: Path) -> None:
    (folder / "modeling.py").write_text(CODE)
    _edit(folder / "config.json", auto_map=CLASSES)
    _edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling.Tokenizer"] * 2})


def auto_map_unknown(folder: Path) -> None:
    auto_map(folder)
    _edit(folder / "config.json", model_type="unheard-of")


def custom_generate(folder: Path) -> None:
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate" / "generate.py").write_text(CODE)


def pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Trap()}))


def pickle_under_the_name(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(pickle.dumps({"a": Trap()}))


def pickle_in_the_index(folder: Path) -> None:
    names = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    torch.save({"a": Trap()}, folder / "more.bin")
    _edit(folder / "model.safetensors.index.json", weight_map=dict.fromkeys(names, "more.bin"), metadata={})


def adapter_beside(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Trap()))
    _edit(folder / "adapter_config.json", peft_type="LORA", base_model_name_or_path=str(folder), r=4)


MODELS: list[Callable[[Path], object]] = [
    auto_map,
    auto_map_unknown,
    custom_generate,
    pickled_weights,
    pickle_under_the_name,
    pickle_in_the_index,
    adapter_beside,
]


def run(sample: int | None, seed: int, folder: Path, trap: Path) -> list[Row]:
    """Model folders are loaded and, where that succeeds, asked; checkpoints are looked for."""
    chosen = MODELS if sample is None else random.Random(seed).sample(MODELS, min(sample, len(MODELS)))
    save_model(folder / "sound")
    rows = []
    wrong = []
    for spoil in chosen:
        place = folder / spoil.__name__
        shutil.copytree(folder / "sound", place)
        spoil(place)
        try:
            loaded = load_model(str(place), device="cpu")
            assert type(loaded.model).__module__.startswith("transformers.models.gpt_bigcode")
            loaded.model.generate(torch.tensor([[1]]), max_new_tokens=1)
        except LorabookError:
            pass
        except Exception as error:
            wrong.append(f"{spoil.__name__}: {type(error).__name__}: {str(error)[:150]}")
        if trap.exists():
            wrong.append(f"{spoil.__name__}: its code ran")
            trap.rmdir()
    outcome = "; ".join(wrong) or "none ran: read without it, or refused"
    rows.append(Row("model folders that bring code", len(chosen), outcome, not wrong))
    return [*rows, _checkpoints(folder / "checkpoints", trap)]


def _checkpoints(folder: Path, trap: Path) -> Row:
    """A sound checkpoint with pickles beside its files, and a newer one whose tensors are a pickle."""
    checkpoint.write(folder, 1, {"x": torch.ones(2)}, {"history": {}})
    newer = checkpoint.write(folder, 2, {"x": torch.zeros(2)}, {"history": {}})
    (newer / checkpoint.TENSORS).write_bytes(pickle.dumps({"x": Trap()}))
    for name in ("optimizer.pt", "scheduler.pkl", "random_states_0.pkl", "training_args.bin"):
        (folder / "step-000001" / name).write_bytes(pickle.dumps(Trap()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = checkpoint.latest(folder)
    passed = found is not None and bool(found.tensors["x"].all()) and not trap.exists()
    outcome = "none opened, the sound checkpoint used" if passed else f"ran: {trap.exists()}, found: {found}"
    os.environ.pop("FAULTS_TRAP", None)
    return Row("checkpoints that bring pickles", 5, outcome, passed)
