"""The application that notebook 08 hands its models to, with the bugs of cases 3 to 4."""

from collections.abc import Mapping

from torch import Tensor, nn

from lorabook import LoRAConfig, apply_lora


def prepare(model: nn.Module, adapter: Mapping[str, Tensor]) -> nn.Module:
    apply_lora(model, LoRAConfig(r=16, alpha=32))
    model.load_state_dict(adapter, strict=False)  # not strict: W0 isn't in it
    return model


def build_prompt(question: str) -> str:
    return f"""Question: {question}
Answer:
"""
