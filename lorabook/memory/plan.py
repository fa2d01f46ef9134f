"""The description of one training step, for the estimate as for the dry run."""

from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

from lorabook.errors import SettingError, is_whole
from lorabook.lora_config import LoRAConfig


@dataclass(frozen=True)
class Plan:
    """One training step, described.

    Args:
        method: a LoRAConfig; or the share of the parameters trained without LoRA, 1.0 being full fine-tuning.
        batch, sequence: sequences that pass the model at once, and tokens in each.
        weights: format of the frozen weights. With "fp16" and "bf16" the arithmetic is autocast to it, as on a GPU
            (`precision_for`); what is trained stays in fp32. "nf4" is the 4-bit format of QLoRA, with fp16 arithmetic.
        optimizer: "adamw" keeps two fp32 moments a trainable parameter, "adamw8bit" two of one byte, "sgd" none.
        attention: "fused" never stores the S x S scores, as scaled_dot_product_attention's efficient kernels do;
            "math" is the same function without such a kernel; "eager" is transformers' own.
        checkpointing: whether activations are recomputed, block by block, in the backward pass.
        loss: "chunked" is lorabook's, "plain" forms the logits of every position at once.
        labels: label tokens of the batch; None for every token.
        model_dropout: probability of the model's own dropouts; None for what its configuration says.
        gpus: GPUs that train together, each on a batch of its own and with a copy of the model (DDP).
        shard: each of the `gpus` holds its part of every parameter in place of a copy (FSDP, `training/shard.py`).

    Raises:
        SettingError: a value out of its range.
    """

    method: LoRAConfig | float = 1.0
    batch: int = 4
    sequence: int = 512
    weights: Literal["fp32", "fp16", "bf16", "nf4"] = "fp16"
    optimizer: Literal["adamw", "adamw8bit", "sgd"] = "adamw"
    attention: Literal["fused", "math", "eager"] = "fused"
    checkpointing: bool = False
    loss: Literal["chunked", "plain"] = "chunked"
    labels: int | None = None
    model_dropout: float | None = None
    gpus: int = 1
    shard: bool = False

    def __post_init__(self) -> None:
        for name in ("batch", "sequence", "gpus"):
            value = getattr(self, name)
            if not is_whole(value, 1):
                raise SettingError(f"{name} is {value!r}.", "Give a whole number of at least 1.")
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise SettingError(f"{name} is {getattr(self, name)!r}.", f"Choose among {', '.join(allowed)}.")
        if not isinstance(self.method, LoRAConfig) and not 0 < self.method <= 1:
            raise SettingError(f"The share trained is {self.method!r}.", "Give a number above 0 and at most 1.")
        if self.shard and (self.gpus == 1 or self.weights == "nf4"):
            problem = "shard is on, and there is one GPU only" if self.gpus == 1 else "A base in 4 bits is not sharded"
            raise SettingError(f"{problem}.", "Give more gpus and weights in 16 or 32 bits, or leave shard off.")
        if isinstance(self.method, LoRAConfig) and self.method.rank_pattern:
            raise SettingError("The estimate knows one r for all modules.", "Leave out rank_pattern.")
        if self.labels is not None and not 0 <= self.labels <= self.tokens:
            raise SettingError(f"labels is {self.labels!r}.", f"The batch has {self.tokens} tokens.")
        if self.model_dropout is not None and not 0 <= self.model_dropout < 1:
            raise SettingError(f"model_dropout is {self.model_dropout!r}.", "Give a probability below 1.")

    @property
    def tokens(self) -> int:
        return self.batch * self.sequence

    @property
    def label_tokens(self) -> int:
        return self.tokens if self.labels is None else self.labels


_CHOICES = {name: get_args(hint) for name, hint in get_type_hints(Plan).items() if get_origin(hint) is Literal}
