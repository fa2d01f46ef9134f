"""What sets one architecture of language models apart from another, as far as memory goes.

A new architecture is a new entry of FAMILIES. No model is built here, torch is idle.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from lorabook.errors import SettingError, did_you_mean, is_whole
from lorabook.memory.shape import Module, Shape
from lorabook.models.known import ESTIMATED, KNOWN, known_model

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True, eq=False)
class Family:
    """An architecture as transformers builds it.

    Attributes:
        name: `model_type` in config.json.
        keys: what config.json calls the fields of `Shape`; a field that is left out has no key there.
        token_table: full name of the token embedding.
        position_table: full name of the position embedding; empty where positions are rotary.
        blocks: full name of the list of blocks.
        linears: the linear layers of one block, in the model's order, attention before MLP. Names are relative to the
            block; those in the MLP start with "mlp.".
        activation, tied, dropout: transformers' defaults.
        multi_query: config.json has `multi_query`, which is true by default.
        rms_norm: norms are RMSNorm, written out in Python, with a weight; else LayerNorm, with a weight and a bias.
        gated: in the MLP, the activation of one layer's output multiplies another's.
        mask_buffer: the model holds a causal mask for its longest sequence.
        in_transformers: False for a model that papers describe and transformers does not have.
    """

    name: str
    keys: Mapping[str, str]
    token_table: str
    blocks: str
    linears: Callable[[Shape], tuple[Module, ...]]
    activation: str
    tied: bool
    position_table: str = ""
    dropout: float = 0.0
    multi_query: bool = False
    rms_norm: bool = False
    gated: bool = False
    mask_buffer: bool = False
    in_transformers: bool = True

    @property
    def rotary(self) -> bool:
        return not self.position_table

    @property
    def dropouts(self) -> dict[str, str]:
        """The part of `keys` that has the model's own dropouts."""
        return {field: key for field, key in self.keys.items() if field.endswith("_dropout")}

    def shape(self, name: str, config: Mapping[str, Any]) -> Shape:
        """The Shape that a config.json describes; what it leaves out has transformers' default."""
        given = {field: config[key] for field, key in self.keys.items() if config.get(key) is not None}

        def size(field: str, default: int | None = None) -> int:
            value = given.get(field, default)
            if not is_whole(value, 1):
                problem = f"{self.keys[field]} of {name} is {value!r}."
                raise SettingError(problem, "Give a configuration where it is a whole number.")
            return value

        if config.get("add_cross_attention"):
            raise SettingError(f"{name} has cross-attention.", "Choose a model that is a decoder alone.")
        sizes = {field: size(field) for field in ("vocabulary", "width", "layers", "heads", "positions")}
        width, heads = sizes["width"], sizes["heads"]
        dropouts: dict[str, Any] = {field: float(given.get(field, self.dropout)) for field in self.dropouts}
        if width % heads:
            problem = f"{name} has width {width} and {heads} heads."
            raise SettingError(problem, "The width must be a multiple of the heads.")
        return Shape(
            name=name,
            family=self,
            **sizes,
            kv_heads=1 if self.multi_query and config.get("multi_query", True) else size("kv_heads", heads),
            head_dim=size("head_dim", width // heads),
            inner=size("inner", None if self.gated else 4 * width),
            tied=bool(given.get("tied", self.tied)),
            activation=given.get("activation", self.activation),
            attention_bias=bool(given.get("attention_bias")),
            mlp_bias=bool(given.get("mlp_bias")),
            **dropouts,
        )

    def config(self, shape: Shape) -> Any:
        """The configuration of transformers for a model of that shape, the reverse of `shape`.

        Raises:
            SettingError: transformers has no such model.
        """
        from transformers import AutoConfig

        if not self.in_transformers:
            raise SettingError(
                f"{shape.name} is known by its shape only: transformers has no such model.",
                "Estimate its memory, or give another model.",
            )
        fields = {key: getattr(shape, field) for field, key in self.keys.items()}
        if self.multi_query:
            fields["multi_query"] = shape.kv_heads == 1
        return AutoConfig.for_model(self.name, **fields, bos_token_id=0, eos_token_id=0)


def _gpt_linears(s: Shape) -> tuple[Module, ...]:
    return (
        Module("attn.c_attn", s.width + 2 * s.kv_width, s.width, bias=True),
        Module("attn.c_proj", s.width, s.width, bias=True),
        Module("mlp.c_fc", s.inner, s.width, bias=True),
        Module("mlp.c_proj", s.width, s.inner, bias=True),
    )


def _gpt3_linears(s: Shape) -> tuple[Module, ...]:
    """Hu et al. 2021 adapt W_q and W_v of GPT-3 as matrices of their own."""
    attention = (Module(f"attn.{name}_proj", s.width, s.width, bias=True) for name in ("q", "k", "v", "out"))
    return (*attention, *_gpt_linears(s)[2:])


def _llama_attention(s: Shape) -> tuple[Module, ...]:
    return (
        Module("self_attn.q_proj", s.query_width, s.width, s.attention_bias),
        Module("self_attn.k_proj", s.kv_width, s.width, s.attention_bias),
        Module("self_attn.v_proj", s.kv_width, s.width, s.attention_bias),
        Module("self_attn.o_proj", s.width, s.query_width, s.attention_bias),
    )


def _starcoder2_linears(s: Shape) -> tuple[Module, ...]:
    return (
        *_llama_attention(s),
        Module("mlp.c_fc", s.inner, s.width, s.mlp_bias),
        Module("mlp.c_proj", s.width, s.inner, s.mlp_bias),
    )


def _llama_linears(s: Shape) -> tuple[Module, ...]:
    return (
        *_llama_attention(s),
        Module("mlp.gate_proj", s.inner, s.width, s.mlp_bias),
        Module("mlp.up_proj", s.inner, s.width, s.mlp_bias),
        Module("mlp.down_proj", s.width, s.inner, s.mlp_bias),
    )


GPT2 = Family(
    name="gpt2",
    keys={
        "vocabulary": "vocab_size",
        "width": "n_embd",
        "layers": "n_layer",
        "heads": "n_head",
        "inner": "n_inner",
        "positions": "n_positions",
        "tied": "tie_word_embeddings",
        "activation": "activation_function",
        "attention_dropout": "attn_pdrop",
        "residual_dropout": "resid_pdrop",
        "embedding_dropout": "embd_pdrop",
    },
    token_table="transformer.wte",
    position_table="transformer.wpe",
    blocks="transformer.h",
    linears=_gpt_linears,
    activation="gelu_new",
    tied=True,
    dropout=0.1,
)
LLAMA = Family(
    name="llama",
    keys={
        "vocabulary": "vocab_size",
        "width": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "kv_heads": "num_key_value_heads",
        "head_dim": "head_dim",
        "inner": "intermediate_size",
        "positions": "max_position_embeddings",
        "tied": "tie_word_embeddings",
        "activation": "hidden_act",
        "attention_bias": "attention_bias",
        "mlp_bias": "mlp_bias",
        "attention_dropout": "attention_dropout",
    },
    token_table="model.embed_tokens",
    blocks="model.layers",
    linears=_llama_linears,
    activation="silu",
    tied=False,
    rms_norm=True,
    gated=True,
)
FAMILIES = {
    "gpt2": GPT2,
    "gpt_bigcode": replace(
        GPT2, name="gpt_bigcode", activation="gelu_pytorch_tanh", multi_query=True, mask_buffer=True
    ),
    "llama": LLAMA,
    "starcoder2": replace(
        LLAMA,
        name="starcoder2",
        keys={
            **LLAMA.keys,
            "attention_bias": "use_bias",
            "mlp_bias": "use_bias",
            "residual_dropout": "residual_dropout",
            "embedding_dropout": "embedding_dropout",
        },
        linears=_starcoder2_linears,
        activation="gelu_pytorch_tanh",
        tied=True,
        rms_norm=False,
        gated=False,
    ),
    "gpt3": replace(GPT2, name="gpt3", linears=_gpt3_linears, in_transformers=False),
}


ModelLike: TypeAlias = "str | Path | Shape | PreTrainedConfig"


def shape_of(model: ModelLike) -> Shape:
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
        return _shape(getattr(model, "name_or_path", ""), model.to_dict())
    known = known_model(str(model))
    name = known.name if known else str(model)
    if name in _KNOWN_SHAPES:
        return _KNOWN_SHAPES[name]
    file = Path(model).expanduser() / "config.json"
    if not file.is_file():
        raise SettingError(
            f"The sizes of {str(model)!r} are not known.", f"{did_you_mean(str(model), _KNOWN_SHAPES)}{_ADVICE}"
        )
    try:
        return _shape(file.parent.name, json.loads(file.read_text(encoding="utf-8")))
    except SettingError:
        raise
    except (OSError, ValueError, AttributeError) as error:
        raise SettingError(f"{file} cannot be read: {error}.", "Save the model's configuration again.") from error


def _shape(name: str, config: Mapping[str, Any]) -> Shape:
    family = config.get("model_type")
    if family not in FAMILIES:
        raise SettingError(f"The model family {family!r} is not supported.", f"Choose among {_in_transformers()}.")
    return FAMILIES[family].shape(name or family, config)


def _in_transformers() -> str:
    return ", ".join(name for name, family in FAMILIES.items() if family.in_transformers)


_KNOWN_SHAPES = {
    name: _shape(name, config) for name, config in ({m.name: m.config for m in KNOWN.values()} | ESTIMATED).items()
}
_ADVICE = (
    f"Give one of {', '.join(_KNOWN_SHAPES)}; a local folder with a config.json; or a configuration of transformers, "
    f"each of the families {_in_transformers()}."
)
