"""An explorer's controls for what every training step has: precision, optimizer, batch, sequence, checkpointing."""

from collections.abc import Mapping
from typing import Any

from lorabook.lora import LoRAConfig
from lorabook.memory.plan import Plan
from lorabook.workbook.kit.controls import Control, buttons, check, slider

# What the controls offer: what is shown, and what a Plan calls it.
PRECISIONS = {"fp32": "fp32", "fp16 autocast": "fp16", "bf16 autocast": "bf16"}
OPTIMIZERS = {"AdamW": "adamw", "AdamW in 8 bits": "adamw8bit", "SGD": "sgd"}
BATCHES = {str(2**i): 2**i for i in range(9)}
SEQUENCES = {str(2**i): 2**i for i in range(6, 14)}


def step_controls(models: Mapping[str, str]) -> dict[str, Control]:
    """Controls for the model, the precision, the optimizer, the batch and checkpointing."""
    return {
        "model": buttons("model", models),
        "weights": buttons("precision", PRECISIONS),
        "optimizer": buttons("optimizer", OPTIMIZERS),
        "batch": slider("batch (sequences)", BATCHES),
        "sequence": slider("sequence (tokens)", SEQUENCES),
        "checkpointing": check("checkpointing"),
    }


def plan_of(state: Any, method: LoRAConfig | float) -> Plan:
    """The Plan for `method` that takes all else from `state`, where the two have fields of the same name."""
    shared = (vars(state).keys() & vars(Plan()).keys()) - {"method"}
    return Plan(method, **{name: getattr(state, name) for name in shared})
