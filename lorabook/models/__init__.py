"""Models: which are known, where they come from, in which precision they are loaded."""

from lorabook.models.load import LoadedModel, load_model

__all__ = ["LoadedModel", "load_model"]
