"""What makes and checks this repository, run from its root: `python -m scripts.checks.tables`."""
