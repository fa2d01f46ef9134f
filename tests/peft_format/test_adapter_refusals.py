"""Adapter files that do not fit, or are not whole: refused by name, and the model is left as it was."""

import json
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lorabook.errors import AdapterError, SettingError
from lorabook.lora import LoRAConfig
from lorabook.peft_format.adapter_file import CONFIG_NAME, WEIGHTS_NAME, load, save
from tests.kit.adapters import adapted
from tests.kit.families import MODELS, gpt_bigcode
from tests.kit.untouched import assert_untouched, snapshot

STARCODER = ("c_attn", "c_proj", "c_fc", "wte", "wpe")

# The base


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", MODELS)
def test_a_file_fits_its_base_in_any_precision(kind, dtype, tmp_path):
    config = LoRAConfig(r=4, targets=("all-linear",))
    save(adapted(MODELS[kind](), config), tmp_path / "from fp32")
    load(MODELS[kind]().to(dtype), tmp_path / "from fp32")
    save(adapted(MODELS[kind]().to(dtype), config), tmp_path / "from half")
    load(MODELS[kind](), tmp_path / "from half")
    for folder in ("from fp32", "from half"):
        with pytest.raises(AdapterError, match="other base weights"):
            load(MODELS[kind](seed=1).to(dtype), tmp_path / folder)


@pytest.fixture
def folder(tmp_path) -> Path:
    """An adapter of `gpt_bigcode()`, saved as trained on somebody/tiny."""
    return save(adapted(gpt_bigcode(), LoRAConfig(r=4, targets=STARCODER)), tmp_path, base_name="somebody/tiny")


def test_the_same_base_under_another_name_only_warns(folder):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(gpt_bigcode(), folder, base_name="somebody/tiny")
        load(gpt_bigcode(), folder)
    with pytest.warns(UserWarning, match="somebody/tiny.*/home/me/copy") as warned:
        load(gpt_bigcode(), folder, base_name="/home/me/copy")
    assert warned[0].filename == __file__, "the warning should point at the line that loads"


def test_one_changed_weight_is_another_base(folder):
    model = gpt_bigcode()
    with torch.no_grad():
        model.transformer.h[1].ln_2.bias[7] += 1e-3
    refused(model, folder, r"other base weights \(somebody/tiny\)")


# Refusals


def refused(model: nn.Module, folder: Path, words: str) -> None:
    before = snapshot(model)
    with pytest.raises(AdapterError, match=words) as refusal:
        load(model, folder)
    assert refusal.value.problem and refusal.value.advice
    assert_untouched(model, before)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda: gpt_bigcode(seed=1), "other base weights"),
        (lambda: gpt_bigcode(vocab_size=70), "vocabulary"),
        (lambda: gpt_bigcode(n_positions=48), "wpe.*vocabulary"),
        (lambda: gpt_bigcode(n_layer=1), "no place"),
        (lambda: gpt_bigcode(n_layer=3), r"lacks transformer\.h\.2\."),
        (lambda: gpt_bigcode(n_inner=48), "shape"),
        (MODELS["Llama"], "no place"),
    ],
    ids=["weights", "vocabulary", "positions", "fewer layers", "more layers", "width", "architecture"],
)
def test_an_adapter_of_another_base_is_refused(model, words, folder):
    refused(model(), folder, words)


ONE = "base_model.model.transformer.h.1.mlp.c_fc.lora_"


def without_a_factor(tensors: dict[str, Tensor]) -> None:
    del tensors[f"{ONE}A.weight"]


def without_a_module(tensors: dict[str, Tensor]) -> None:
    del tensors[f"{ONE}A.weight"], tensors[f"{ONE}B.weight"]


def with_a_stranger(tensors: dict[str, Tensor]) -> None:
    tensors["base_model.model.transformer.h.1.mlp.c_gate.lora_A.weight"] = torch.zeros(4, 32)


def with_a_layer_norm(tensors: dict[str, Tensor]) -> None:
    tensors["base_model.model.transformer.ln_f.lora_A.weight"] = torch.zeros(4, 32)


def without_prefix(tensors: dict[str, Tensor]) -> None:
    tensors[f"{ONE}A.weight".removeprefix("base_model.model.")] = tensors.pop(f"{ONE}A.weight")


def with_a_linear_in_an_embedding(tensors: dict[str, Tensor]) -> None:
    tensors["base_model.model.transformer.wte.lora_A.weight"] = torch.zeros(4, 64)


def with_a_wrong_shape(tensors: dict[str, Tensor]) -> None:
    tensors[f"{ONE}B.weight"] = tensors[f"{ONE}B.weight"][:-1].contiguous()


def with_a_wrong_rank(tensors: dict[str, Tensor]) -> None:
    tensors[f"{ONE}A.weight"] = torch.zeros(8, 32)
    tensors[f"{ONE}B.weight"] = torch.zeros(128, 8)


def with_nan(tensors: dict[str, Tensor]) -> None:
    tensors[f"{ONE}B.weight"][3, 1] = torch.nan


def with_infinity(tensors: dict[str, Tensor]) -> None:
    tensors[f"{ONE}A.weight"][0, 0] = torch.inf


def with_nothing(tensors: dict[str, Tensor]) -> None:
    tensors.clear()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_a_factor, r"one of the two factors of transformer\.h\.1\.mlp\.c_fc"),
        (without_a_module, r"lacks transformer\.h\.1\.mlp\.c_fc"),
        (with_a_stranger, "c_gate.* no place"),
        (with_a_layer_norm, "ln_f.* does not fit"),
        (without_prefix, "no place"),
        (with_a_linear_in_an_embedding, "wte.* does not fit"),
        (with_a_wrong_shape, r"c_fc.*B is \(127, 4\).*\(128, 4\)"),
        (with_a_wrong_rank, r"c_fc.*A is \(8, 32\).*r = 4"),
        (with_nan, "NaN"),
        (with_infinity, "infinity"),
        (with_nothing, "every LoRA tensor"),
    ],
)
def test_a_file_that_is_not_whole_is_refused(spoil, words, folder):
    path = folder / WEIGHTS_NAME
    with safe_open(path, "pt") as file:
        header = file.metadata()
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    path.unlink()
    spoil(tensors)
    save_file(tensors, path, metadata=header)
    refused(gpt_bigcode(), folder, words)


def truncate(folder: Path) -> None:
    path = folder / WEIGHTS_NAME
    path.write_bytes(path.read_bytes()[:-100])


def empty(folder: Path) -> None:
    (folder / WEIGHTS_NAME).write_bytes(b"")


def put_a_pickle(folder: Path) -> None:
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("the pickle was opened",)

    (folder / WEIGHTS_NAME).write_bytes(pickle.dumps(Trap()))


def put_torch_save(folder: Path) -> None:
    torch.save({f"{ONE}A.weight": torch.zeros(4, 32)}, folder / WEIGHTS_NAME)


def leave_only_a_bin(folder: Path) -> None:
    torch.save({}, folder / "adapter_model.bin")
    (folder / WEIGHTS_NAME).unlink()


def adapt_less_in_the_config(folder: Path) -> None:
    stored = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps(stored | {"target_modules": stored["target_modules"][:1]}))


def lose_the_config(folder: Path) -> None:
    (folder / CONFIG_NAME).unlink()


def break_the_config(folder: Path) -> None:
    (folder / CONFIG_NAME).write_text('{"peft_type": "LORA", ')


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncate, "damaged"),
        (empty, "damaged"),
        (put_a_pickle, "damaged or no safetensors"),
        (put_torch_save, "damaged or no safetensors"),
        (leave_only_a_bin, f"no {WEIGHTS_NAME}"),
        (lose_the_config, f"no {CONFIG_NAME}"),
        (break_the_config, "cannot be read"),
        (adapt_less_in_the_config, "which its config does not adapt"),
    ],
)
def test_a_damaged_or_missing_file_is_refused(spoil, words, folder):
    spoil(folder)
    refused(gpt_bigcode(), folder, words)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("use_dora", True),
        ("bias", "all"),
        ("bias", "lora_only"),
        ("lora_bias", True),
        ("modules_to_save", ["lm_head"]),
        ("rank_pattern", 8),
        ("alpha_pattern", ["c_fc"]),
        ("layer_replication", [[0, 1]]),
        ("trainable_token_indices", [1]),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "pissa_niter_4"),
        ("init_lora_weights", "olora"),
        ("peft_type", "LOHA"),
        ("r", 8),
        ("r", None),
        ("r", 0),
        ("lora_alpha", "8"),
        ("lora_dropout", 2),
    ],
)
def test_a_config_that_asks_for_something_else_is_refused_by_name(option, value, folder):
    path = folder / CONFIG_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | {option: value}))
    words = {"peft_type": "LOHA", "lora_alpha": "alpha", "lora_dropout": "dropout"}.get(option, option)
    refused(gpt_bigcode(), folder, words)


def test_an_adapted_model_takes_no_second_adapter(folder):
    model = adapted(gpt_bigcode(), LoRAConfig(r=4, targets=("c_fc",)))
    before = snapshot(model)
    with pytest.raises(SettingError, match="already"):
        load(model, folder)
    assert_untouched(model, before)
