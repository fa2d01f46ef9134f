"""Measurements of lorabook beside its peers: `python -m benchmarks.NAME` from the root of the repository."""
