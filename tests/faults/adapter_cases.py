"""Adapters that are damaged, or not what they say: what is done to a sound one, and the words its refusal must hold."""

import json
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lorabook.peft_format.adapter_config import CONFIG_LIMIT
from lorabook.peft_format.adapter_file import BASE, CONFIG_NAME, WEIGHTS_NAME
from tests.kit.families import MODELS, gpt_bigcode

MODULE = "base_model.model.transformer.h.1.mlp.c_fc"
A, B = f"{MODULE}.lora_A.weight", f"{MODULE}.lora_B.weight"


@dataclass(frozen=True)
class Case:
    """`spoil` is done to the folder of an adapter of `gpt_bigcode()`; loaded on `base`, it is refused with `words`."""

    kind: str
    name: str
    spoil: Callable[[Path], object]
    words: str
    base: Callable[[], Any] = gpt_bigcode


def nothing(folder: Path) -> None:
    """The file is sound; the base is not its own."""


def cut(share: float) -> Callable[[Path], object]:
    """Leave so much of the weights."""

    def spoil(folder: Path) -> None:
        path = folder / WEIGHTS_NAME
        content = path.read_bytes()
        path.write_bytes(content[: int(share) if share > 1 else int(share * len(content))])

    return spoil


def tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    """Write the weights again with other tensors."""

    def spoil(folder: Path) -> None:
        path = folder / WEIGHTS_NAME
        with safe_open(path, "pt") as file:
            header, found = file.metadata(), {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
        path.unlink()
        change(found)
        save_file(found, path, metadata=header)

    return spoil


def one(value: torch.Tensor, key: str = A) -> Callable[[Path], object]:
    return tensors(lambda found: found.update({key: value}))


def header(change: Callable[[bytes], bytes], says: int | None = None) -> Callable[[Path], object]:
    """Change the bytes of the header, or only the length that it says it has."""

    def spoil(folder: Path) -> None:
        path = folder / WEIGHTS_NAME
        content = path.read_bytes()
        end = 8 + struct.unpack("<Q", content[:8])[0]
        changed = change(content[8:end])
        path.write_bytes(struct.pack("<Q", len(changed) if says is None else says) + changed + content[end:])

    return spoil


def same(content: bytes) -> bytes:
    return content


def twice(content: bytes) -> bytes:
    entry = json.dumps(json.loads(content)[A] | {"dtype": "I32"})
    return content.rstrip()[:-1] + f',"{A}":{entry}}}'.encode()


def base_note(text: str) -> Callable[[bytes], bytes]:
    def change(content: bytes) -> bytes:
        found = json.loads(content)
        found["__metadata__"][BASE] = text
        return json.dumps(found).encode()

    return change


def settings(**changes: Any) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        path = folder / CONFIG_NAME
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return spoil


def text(content: str | bytes, name: str = CONFIG_NAME) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def link(name: str, target: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return spoil


class Trap:
    """Opened as a pickle, it makes a folder of the name in the environment variable FAULTS_TRAP."""

    def __reduce__(self):
        return os.mkdir, (os.environ["FAULTS_TRAP"],)


def put_pickle(folder: Path) -> None:
    (folder / WEIGHTS_NAME).write_bytes(pickle.dumps({A: Trap()}))


def put_torch_save(folder: Path) -> None:
    torch.save({A: Trap()}, folder / WEIGHTS_NAME)


def put_bin(folder: Path) -> None:
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Trap()))
    (folder / WEIGHTS_NAME).unlink()


def moved(found: dict[str, torch.Tensor], name: str) -> None:
    found[name] = found.pop(A)


def without(*keys: str) -> Callable[[Path], object]:
    return tensors(lambda found: [found.pop(key) for key in keys])


def cases() -> Iterator[Case]:
    """All of them."""
    for share in (0, 4, 8, 9, 100, 1000, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999):
        yield Case("weights cut short", f"{share}", cut(share), "damaged or no safetensors")
    for name, spoil, words in [
        ("length of the header: 2^63", header(same, 2**63), "damaged.*header"),
        ("length of the header: too short", header(same, 16), "damaged.*header"),
        ("a tensor twice", header(twice), "stands in it 2 times"),
        ("offsets past the end", header(lambda h: h.replace(b'"data_offsets":[0,', b'"data_offsets":[9,')), "damaged"),
        ("an unheard-of dtype", header(lambda h: h.replace(b'"F32"', b'"F31"', 1)), "damaged"),
        ("nested for ever", header(lambda h: b"[" * 100_000), "damaged"),
        ("the note on its base: nested", header(base_note("[" * 100_000)), "note on its base is damaged"),
        ("the note on its base: of texts", header(base_note('{"layout":1,"dtype":2,"exact":3,"sample":"x"}')), "note"),
    ]:
        yield Case("weights whose header lies", name, spoil, words)
    ones = torch.ones(4, 32)
    for name, value, words in [
        ("NaN", ones * torch.nan, "NaN"),
        ("infinity", ones / 0, "infinity"),
        ("over float32", ones.double() * 1e300, "NaN or infinity"),
        *((str(t), ones.to(t), str(t)) for t in (torch.int32, torch.uint8, torch.bool, torch.complex64)),
        ("float8", ones.to(torch.float8_e4m3fn), "float8"),
        ("another rank", torch.ones(8, 32), r"c_fc.*\(8, 32\).*r = 4"),
        ("another width", torch.ones(4, 31), "c_fc.*shape differs"),
        ("transposed", torch.ones(32, 4), "c_fc.*shape differs"),
        ("a number", torch.ones(()), "shape differs"),
    ]:
        yield Case("tensors of wrong values, types, shapes", name, one(value), words)
    for name, spoil, words in [
        ("a factor missing", without(A), "one of the two factors of transformer.h.1.mlp.c_fc"),
        ("a module missing", without(A, B), r"lacks transformer\.h\.1\.mlp\.c_fc"),
        ("all missing", tensors(dict.clear), "every LoRA tensor"),
        ("one more module", one(torch.zeros(4, 32), MODULE.replace("c_fc", "gate") + ".lora_A.weight"), "gate.*place"),
        ("a module its config leaves out", settings(target_modules=["c_attn", "wte"]), "its config does not adapt"),
        ("an unknown factor", one(torch.zeros(4), f"{MODULE}.lora_magnitude_vector"), "magnitude.*no place"),
        ("weights of the whole model", one(torch.zeros(4), "base_model.model.base_layer.weight"), "no place"),
        ("../ in a name", tensors(lambda found: moved(found, "base_model.model.../../etc.lora_A.weight")), "no place"),
        ("an absolute name", tensors(lambda found: moved(found, "/etc/passwd")), "/etc/passwd.*no place"),
        ("no name", tensors(lambda found: moved(found, "")), "no place"),
        ("control characters", tensors(lambda found: moved(found, "\x1b[2J")), r"\\x1b\[2J.*no place"),
    ]:
        yield Case("tensors missing, extra, out of place", name, spoil, words)
    for name, spoil, words in [
        ("a pickle", put_pickle, "no safetensors"),
        ("what torch.save writes", put_torch_save, "no safetensors"),
        ("adapter_model.bin alone", put_bin, f"no {WEIGHTS_NAME}"),
    ]:
        yield Case("pickles under the name", name, spoil, words)
    for name, spoil, words in [
        ("a link to another kind of file", link(WEIGHTS_NAME, __file__), "no safetensors"),
        ("a link to itself", link(WEIGHTS_NAME, WEIGHTS_NAME), f"no {WEIGHTS_NAME}"),
        ("a link to a device", link(WEIGHTS_NAME, "/dev/zero"), f"no {WEIGHTS_NAME}"),
        ("the config a link to a device", link(CONFIG_NAME, "/dev/zero"), f"no {CONFIG_NAME}"),
        ("the config a link to nowhere", link(CONFIG_NAME, "../../nowhere"), f"no {CONFIG_NAME}"),
        ("../ among the targets", settings(target_modules=["../../etc/passwd"]), "its config does not adapt"),
        ("a base of control characters", settings(base_model_name_or_path="../\x1b[2J"), "base_model_name_or_path"),
    ]:
        yield Case("tricks with paths", name, spoil, words)
    yield from _bases()
    yield from _configs()


def _bases() -> Iterator[Case]:
    for name, base, words in [
        ("other weights", lambda: gpt_bigcode(seed=1), "other base weights"),
        ("another vocabulary", lambda: gpt_bigcode(vocab_size=70), "vocabulary differs"),
        ("fewer positions", lambda: gpt_bigcode(n_positions=16), "wpe.*differs"),
        ("fewer layers", lambda: gpt_bigcode(n_layer=1), "no place"),
        ("more layers", lambda: gpt_bigcode(n_layer=3), r"lacks transformer\.h\.2"),
        ("wider", lambda: gpt_bigcode(n_inner=48), "shape differs"),
        ("GPT-2, whose names are the same", MODELS["GPT-2"], "differs"),
        ("Llama", MODELS["Llama"], "no place"),
    ]:
        yield Case("an adapter of another base", name, nothing, words, base)


def _configs() -> Iterator[Case]:
    for name, content, words in [
        ("cut", '{"peft_type": "LORA", ', "cannot be read"),
        ("empty", "", "cannot be read"),
        ("a list", "[1]", "describes"),
        ("nested for ever", "[" * 100_000, "cannot be read.*Recursion"),
        ("huge", " " * (CONFIG_LIMIT + 1), "more than any config"),
        ("no text", b"\xff\xfe\x00", "cannot be read"),
        ("a key twice", '{"peft_type": "LORA", "r": 4, "r": 8}', "stands in it 2 times"),
    ]:
        yield Case("configs that are none", name, text(content), words)
    for changes, words in [
        ({"peft_type": "LOHA"}, "LOHA"),
        ({"peft_type": "LORA2"}, "LORA2"),
        ({"lora_flux": True}, "lora_flux.*does not know"),
        ({"flux_config": {"a": 1}}, "flux_config.*does not know"),
        *(({"bias": kind}, "bias") for kind in ("all", "lora_only")),
        ({"use_dora": True}, "use_dora"),
        ({"lora_bias": True}, "lora_bias"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"rank_pattern": {"c_fc": 8}}, "r = 8"),
        ({"rank_pattern": {r"(a|[a-z._0-9]|.)*?[!?]": 8}}, "takes for ever"),
        ({"alpha_pattern": {"c_fc": "8"}}, "alpha is '8'"),
        ({"layers_to_transform": [0]}, "its config does not adapt"),
        ({"exclude_modules": ["c_fc"]}, "its config does not adapt"),
        ({"ensure_weight_tying": True}, "ensure_weight_tying"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"trainable_token_indices": [1]}, "trainable_token_indices"),
        ({"r": 8}, "r = 8"),
        ({"r": True}, "r is True"),
        ({"r": 10**4000}, "r is 1000"),
        ({"lora_alpha": "8"}, "alpha is '8'"),
        ({"lora_alpha": float("nan")}, "alpha is nan"),
        ({"lora_alpha": 10**400}, "float32 cannot hold"),
        ({"lora_dropout": 2}, "dropout is 2"),
        ({"use_rslora": "false"}, "use_rslora is 'false'"),
        ({"target_modules": None}, "target_modules is None"),
        ({"target_modules": "((("}, "no pattern"),
        ({"target_modules": [1]}, r"target_modules is \[1\]"),
        ({"base_model_name_or_path": {"a": 1}}, "base_model_name_or_path is"),
    ]:
        name = ", ".join(f"{key}={str(value)[:20]}" for key, value in changes.items())
        yield Case("configs of another kind, or from the future", name, settings(**changes), words)
