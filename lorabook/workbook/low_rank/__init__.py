"""Low-rank updates: the shape of a change."""
