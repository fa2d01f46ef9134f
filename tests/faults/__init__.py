"""Faults put in on purpose, one module a family. The toys they train are those of the tests."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
