"""Stands in for Colab's own package: `make colab` and tests/notebooks/test_colab.py run notebooks with it."""
