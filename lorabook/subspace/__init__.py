"""Subspaces: training a model along d random directions of its parameters."""

from lorabook.subspace.training import Subspace, apply_subspace, remove_subspace, subspace_of

__all__ = ["Subspace", "apply_subspace", "remove_subspace", "subspace_of"]
