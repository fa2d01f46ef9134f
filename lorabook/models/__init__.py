"""Models: which are known, where they come from, in which precision they are loaded."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorabook.models.load import LoadedModel, load_model

__all__ = ["LoadedModel", "load_model"]


def __getattr__(name: str) -> Any:
    """What needs PyTorch, imported once it is asked for: the table of known models does without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from lorabook.models import load

    return getattr(load, name)
