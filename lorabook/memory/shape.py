"""The sizes of a causal language model: how many weights each layer has, what LoRA can adapt."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from lorabook.errors import SettingError
from lorabook.lora_config import select_names

if TYPE_CHECKING:
    from lorabook.memory.families import Family


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
        kv_heads: heads that hold keys and values: 1 is multi-query attention, `heads` plain attention.
        inner: width inside the MLP. positions: the longest sequence.
        tied: whether the output head is the input embedding.
        activation: transformers' name of the MLP's nonlinearity.
        attention_bias, mlp_bias: whether linear layers have one, in a family that leaves it to the configuration.
        attention_dropout, residual_dropout, embedding_dropout: as configured; active in training.
    """

    name: str
    family: "Family"
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
    attention_bias: bool = False
    mlp_bias: bool = False
    attention_dropout: float = 0.0
    residual_dropout: float = 0.0
    embedding_dropout: float = 0.0

    @property
    def query_width(self) -> int:
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Of the keys, or of the values."""
        return self.kv_heads * self.head_dim

    @cached_property
    def linears(self) -> tuple[Module, ...]:
        """The linear layers of one block, in the model's order; names are relative to the block."""
        return self.family.linears(self)

    @cached_property
    def modules(self) -> tuple[Module, ...]:
        """Every module that LoRA can adapt, under its full name and in the model's order."""
        family = self.family
        tables = [Module(family.token_table, self.width, self.vocabulary, embedding=True)]
        if not family.rotary:
            tables.append(Module(family.position_table, self.width, self.positions, embedding=True))
        inside = [
            replace(m, name=f"{family.blocks}.{layer}.{m.name}") for layer in range(self.layers) for m in self.linears
        ]
        return (*tables, *inside, self.head)

    @property
    def head(self) -> Module:
        return Module("lm_head", self.vocabulary, self.width)

    @property
    def tables(self) -> tuple[Module, ...]:
        """The weights of vocabulary or positions: embeddings, and the head unless it is one of them."""
        return tuple(m for m in self.modules if m.embedding) + (() if self.tied else (self.head,))

    def place(self, module: Module) -> tuple[int | None, str]:
        """The number of the block that holds `module` and its name within it; None outside of blocks."""
        _, inside, rest = module.name.partition(f"{self.family.blocks}.")
        number, _, name = rest.partition(".")
        return (int(number), name) if inside else (None, module.name)

    @property
    def norm_parameters(self) -> int:
        """Two norms a block and one at the end; LayerNorm has a weight and a bias, RMSNorm a weight."""
        return (2 * self.layers + 1) * self.width * (1 if self.family.rms_norm else 2)

    @cached_property
    def parameters(self) -> int:
        """Every parameter once: a tied head is the embedding and counts once."""
        block = sum(m.parameters for m in self.linears)
        return sum(m.parameters for m in self.tables) + self.layers * block + self.norm_parameters

    @property
    def buffer_bytes(self) -> int:
        """Bytes of tensors that are in no checkpoint but on the GPU.

        A causal mask has one byte for each pair of positions, rotary frequencies are twice head_dim / 2 fp32 values.
        """
        return self.family.mask_buffer * self.positions**2 + self.family.rotary * 8 * (self.head_dim // 2)

    def matched(self, targets: tuple[str, ...]) -> list[Module]:
        """The modules that LoRA `targets` select, as `lorabook.lora.matched` does and in its order.

        Raises:
            SettingError: a target matches nothing; the message names the modules that exist.
        """
        linear = [m.name for m in self.modules if not m.embedding and m != self.head]
        hits = select_names([m.name for m in self.modules], linear, targets, self.name)
        return [m for m in self.modules if m.name in hits]

    def check_sequence(self, length: int) -> None:
        """SettingError if a sequence of `length` tokens has more than the model has positions."""
        if length > self.positions:
            raise SettingError(
                f"A sequence of {length} tokens does not fit: {self.name} has {self.positions} positions.",
                f"Give at most {self.positions}.",
            )
