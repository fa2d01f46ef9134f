"""Stands in for Colab's own package where Colab is rehearsed: `make colab` and tests/test_colab.py."""
