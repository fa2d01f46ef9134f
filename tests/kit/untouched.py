"""What a refused call must leave as it was: the modules of a model, their values, modes, ties and settings."""

from typing import Any

import torch
from torch import nn

from lorabook.lora import adapters_of


def snapshot(model: nn.Module) -> dict[str, Any]:
    """All that a refusal must leave alone."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return {
        "modules": {name: (type(m), m.training) for name, m in model.named_modules()},
        "parameters": {name: (id(p), p.requires_grad) for name, p in parameters.items()},
        "values": {name: t.clone() for name, t in model.state_dict().items()},
        "config": model.config.to_dict() if hasattr(model, "config") else None,
        "settings": adapters_of(model).active and adapters_of(model).active.config,
    }


def assert_untouched(model: nn.Module, before: dict[str, Any]) -> None:
    """The model is as it was when `snapshot` gave `before`."""
    after = snapshot(model)
    values, expected = after.pop("values"), before["values"]
    assert after == {part: before[part] for part in after}
    assert values.keys() == expected.keys()
    assert [name for name in values if not torch.equal(values[name], expected[name])] == []
