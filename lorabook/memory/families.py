"""The sizes of a language model's layers, from a table, a configuration or a folder: no model is built, torch is idle.

Three families are known, by the names and layouts they have in transformers: "gpt2" (Conv1D layers, learned
positions), "gpt_bigcode" (StarCoder: the same with linear layers and one key-value head) and "llama" (rotary
positions, RMSNorm, a gated MLP).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorabook.errors import SettingError
from lorabook.lora import ALL_LINEAR
from lorabook.models.hub import known_model

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

FAMILIES = {"gpt2": "gelu_new", "gpt_bigcode": "gelu_pytorch_tanh", "llama": "silu"}  # and the activation of each
GPT_KEYS = ("vocab_size", "n_embd", "n_layer", "n_head", "n_positions")
LLAMA_KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)


@dataclass(frozen=True)
class Module:
    """A module that LoRA can adapt: its weight has d outputs and k inputs (of an embedding: width and vocabulary)."""

    name: str
    d: int
    k: int
    bias: bool = False
    embedding: bool = False

    @property
    def parameters(self) -> int:
        return self.d * self.k + self.d * self.bias


@dataclass(frozen=True)
class Shape:
    """The sizes of a causal language model.

    Attributes:
        linears: the linear layers of one block, in the model's order; names are relative to the block.
        kv_heads: heads that hold keys and values: 1 is multi-query attention, `heads` plain attention.
        inner: width inside the MLP. positions: the longest sequence.
        tied: whether the output head is the input embedding.
        activation: transformers' name of the MLP's nonlinearity.
        attention_dropout, residual_dropout, embedding_dropout: as configured; active in training.
    """

    name: str
    family: str
    vocabulary: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    positions: int
    tied: bool
    activation: str
    linears: tuple[Module, ...]
    attention_dropout: float = 0.0
    residual_dropout: float = 0.0
    embedding_dropout: float = 0.0

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """Every module that LoRA can adapt, under its full name and in the model's order."""
        llama = self.family == "llama"
        body, blocks = ("model", "model.layers") if llama else ("transformer", "transformer.h")
        tables = [Module(f"{body}.{'embed_tokens' if llama else 'wte'}", self.width, self.vocabulary, embedding=True)]
        if not llama:
            tables.append(Module(f"{body}.wpe", self.width, self.positions, embedding=True))
        inside = [
            Module(f"{blocks}.{layer}.{m.name}", m.d, m.k, m.bias) for layer in range(self.layers) for m in self.linears
        ]
        return (*tables, *inside, Module("lm_head", self.vocabulary, self.width))

    @property
    def head(self) -> Module:
        return self.modules[-1]

    @property
    def tables(self) -> tuple[Module, ...]:
        """The weights of vocabulary or positions: embeddings, and the head unless it is one of them."""
        return tuple(m for m in self.modules if m.embedding) + (() if self.tied else (self.head,))

    def place(self, module: Module) -> tuple[int | None, str]:
        """The number of the block that holds `module` and its name within it; None outside of blocks."""
        for prefix in ("model.layers.", "transformer.h."):
            if module.name.startswith(prefix):
                number, _, name = module.name[len(prefix) :].partition(".")
                return int(number), name
        return None, module.name

    @cached_property
    def norm_parameters(self) -> int:
        """Two norms a block and one at the end; LayerNorm has a weight and a bias, RMSNorm a weight."""
        return (2 * self.layers + 1) * self.width * (1 if self.family == "llama" else 2)

    @cached_property
    def block_parameters(self) -> int:
        """Weights and biases of the linear layers of all blocks."""
        return self.layers * sum(m.parameters for m in self.linears)

    @cached_property
    def parameters(self) -> int:
        """Every parameter once: a tied head is the embedding and counts once."""
        return sum(m.parameters for m in self.tables) + self.block_parameters + self.norm_parameters

    @property
    def buffer_bytes(self) -> int:
        """Bytes of tensors that are in no checkpoint but on the GPU.

        GPTBigCode: a causal mask, one byte for each pair of positions. Llama: the rotary frequencies, twice
        head_dim / 2 fp32 numbers. GPT-2 holds none in transformers 5.
        """
        if self.family == "gpt_bigcode":
            return self.positions**2
        return 4 * 2 * (self.head_dim // 2) if self.family == "llama" else 0

    def matched(self, targets: tuple[str, ...]) -> list[Module]:
        """The modules that LoRA `targets` select, by the rules of `lorabook.lora.matched` and in its order.

        Raises:
            SettingError: a target matches nothing; the message names the modules that exist.
        """
        hits: set[str] = set()
        for target in targets:
            if target == ALL_LINEAR:
                found = {m.name for m in self.modules if not m.embedding and m is not self.head}
            else:
                found = {m.name for m in self.modules if m.name == target or m.name.endswith("." + target)}
            if not found:
                raise SettingError(
                    f"The target {target!r} matches no linear layer or embedding of {self.name}.",
                    f"Choose among: {', '.join(sorted({m.name.rsplit('.', 1)[-1] for m in self.modules}))}.",
                )
            hits |= found
        return [m for m in self.modules if m.name in hits]


def shape_of(model: "str | Path | Shape | PreTrainedConfig") -> Shape:
    """The Shape of a known model by name, of a local folder by its config.json, or of a transformers configuration.

    Raises:
        SettingError: an unknown name, a folder without a readable config.json, another family, a size that is missing
            or does not fit the others.
    """
    if isinstance(model, Shape):
        return model
    if not isinstance(model, (str, Path)):
        if not hasattr(model, "model_type") or not hasattr(model, "to_dict"):
            raise SettingError(f"There are no sizes in a value of type {type(model).__name__}.", _ADVICE)
        return _from_fields(getattr(model, "name_or_path", ""), model.to_dict())
    known = known_model(str(model))
    name = known.name if known else str(model)
    if name in KNOWN:
        return KNOWN[name]
    file = Path(model).expanduser() / "config.json"
    if not file.is_file():
        raise SettingError(f"The sizes of {str(model)!r} are not known.", _ADVICE)
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        return _from_fields(file.parent.name, fields)
    except (OSError, ValueError, AttributeError) as error:
        if isinstance(error, SettingError):
            raise
        raise SettingError(f"{file} cannot be read: {error}.", "Save the model's configuration again.") from error


def _from_fields(name: str, fields: Mapping[str, Any]) -> Shape:
    """The Shape that a config.json describes; what it leaves out has transformers' default."""
    family = fields.get("model_type")
    if family not in FAMILIES:
        raise SettingError(f"The model family {family!r} is not supported.", f"Choose among {', '.join(FAMILIES)}.")
    name, llama = name or family, family == "llama"

    def size(key: str, default: int | None = None) -> int:
        value = default if fields.get(key) is None else fields[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SettingError(f"{key} of {name} is {value!r}.", "Give a configuration where it is a whole number.")
        return value

    def share(key: str) -> float:
        return float(fields.get(key, 0.0 if llama else 0.1) or 0.0)

    if fields.get("add_cross_attention"):
        raise SettingError(f"{name} has cross-attention.", "Choose a model that is a decoder alone.")
    vocabulary, width, layers, heads, positions = (size(key) for key in (LLAMA_KEYS if llama else GPT_KEYS))
    if width % heads:
        raise SettingError(f"{name} has width {width} and {heads} heads.", "The width must be a multiple of the heads.")
    if llama:
        kv_heads, head_dim = size("num_key_value_heads", heads), size("head_dim", width // heads)
        inner = size("intermediate_size")
    else:
        multi_query = family == "gpt_bigcode" and fields.get("multi_query", True)
        kv_heads, head_dim, inner = 1 if multi_query else heads, width // heads, size("n_inner", 4 * width)
    queries, kv = heads * head_dim, kv_heads * head_dim
    if llama:
        in_attention, in_mlp = bool(fields.get("attention_bias")), bool(fields.get("mlp_bias"))
        linears = (
            Module("self_attn.q_proj", queries, width, in_attention),
            Module("self_attn.k_proj", kv, width, in_attention),
            Module("self_attn.v_proj", kv, width, in_attention),
            Module("self_attn.o_proj", width, queries, in_attention),
            Module("mlp.gate_proj", inner, width, in_mlp),
            Module("mlp.up_proj", inner, width, in_mlp),
            Module("mlp.down_proj", width, inner, in_mlp),
        )
    else:
        linears = (
            Module("attn.c_attn", width + 2 * kv, width, True),
            Module("attn.c_proj", width, width, True),
            Module("mlp.c_fc", inner, width, True),
            Module("mlp.c_proj", width, inner, True),
        )
    return Shape(
        name=name,
        family=family,
        vocabulary=vocabulary,
        width=width,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        inner=inner,
        positions=positions,
        tied=bool(fields.get("tie_word_embeddings", not llama)),
        activation=fields.get("hidden_act" if llama else "activation_function", FAMILIES[family]),
        linears=linears,
        attention_dropout=share("attention_dropout" if llama else "attn_pdrop"),
        residual_dropout=0.0 if llama else share("resid_pdrop"),
        embedding_dropout=0.0 if llama else share("embd_pdrop"),
    )


def _gpt(name: str, family: str, sizes: tuple[int, ...], dropout: float) -> Shape:
    dropouts = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), dropout)
    return _from_fields(name, dict(zip(GPT_KEYS, sizes)) | dropouts | {"model_type": family})


def _separate(shape: Shape) -> Shape:
    """`shape` with the queries, keys and values of c_attn in layers of their own, as papers draw them."""
    parts = tuple(Module(f"attn.{part}_proj", shape.width, shape.width, True) for part in ("q", "k", "v", "out"))
    return replace(shape, linears=(*parts, *shape.linears[2:]))


KNOWN = {
    shape.name: shape
    for shape in (
        _gpt("pocket", "gpt_bigcode", (4096, 256, 4, 8, 512), 0.0),
        _from_fields(
            "smollm2",
            dict(zip(LLAMA_KEYS, (49152, 576, 30, 9, 8192)))
            | {"model_type": "llama", "num_key_value_heads": 3, "intermediate_size": 1536, "tie_word_embeddings": True},
        ),
        _gpt("bigcode/tiny_starcoder_py", "gpt_bigcode", (49152, 768, 20, 12, 8192), 0.1),
        _gpt("bigcode/starcoderbase-1b", "gpt_bigcode", (49152, 2048, 24, 16, 8192), 0.1),
        _from_fields(
            "meta-llama/Llama-2-7b-hf",
            dict(zip(LLAMA_KEYS, (32000, 4096, 32, 32, 4096))) | {"model_type": "llama", "intermediate_size": 11008},
        ),
        # Hu et al. 2021 adapt W_q and W_v of GPT-3 as matrices of their own
        _separate(_gpt("GPT-3 175B", "gpt2", (50257, 12288, 96, 96, 2048), 0.0)),
    )
}
_ADVICE = (
    f"Give one of {', '.join(KNOWN)}; a local folder with a config.json; or a configuration of transformers, "
    f"each of the families {', '.join(FAMILIES)}."
)
