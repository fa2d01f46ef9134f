"""What estimate.js needs to know of a model, as JSON."""

from dataclasses import asdict
from typing import Any

from lorabook.memory.families import shape_of
from lorabook.memory.shape import Module
from lorabook.models.nf4 import nf4_bytes
from lorabook.step.chunk import chunk_rows

FIELDS = ("name", "vocabulary", "width", "layers", "heads", "kv_heads", "head_dim", "inner", "positions", "tied",
          "activation", "attention_dropout", "residual_dropout", "embedding_dropout", "parameters")  # fmt: skip


def model_sizes(model: str) -> dict[str, Any]:
    """The fields of its Shape and its family, sizes that follow from them, and the modules LoRA can adapt.

    A module of the blocks is there once, under its name within a block; `place` is "table", "block" or "head". A
    family's dropouts that a model does not have are 0 in its Shape.
    """
    shape, family = shape_of(model), shape_of(model).family
    sizes = {field: getattr(shape, field) for field in FIELDS}
    return sizes | {
        "rotary": family.rotary,
        "rms_norm": family.rms_norm,
        "gated": family.gated,
        "norms": shape.norm_parameters,
        "buffers": shape.buffer_bytes,
        "chunk_rows": chunk_rows(shape.vocabulary),
        "nf4": sum(nf4_bytes(m.d * m.k) for m in shape.linears),
        "modules": [
            *(_module(m, "table") for m in shape.modules if m.embedding),
            *(_module(m, "block") for m in shape.linears),
            _module(shape.head, "head"),
        ],
    }


def _module(module: Module, place: str) -> dict[str, Any]:
    return {name: value for name, value in asdict(module).items() if name != "embedding"} | {"place": place}
