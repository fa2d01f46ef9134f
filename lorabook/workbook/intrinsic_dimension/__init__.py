"""Intrinsic dimension: how few directions are enough."""
