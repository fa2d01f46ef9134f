"""Rank, α, targets, learning rate."""
