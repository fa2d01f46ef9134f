"""PEFT's adapter format: `save` and `load`, and what other programs make of an adapter."""

from lorabook.peft_format.adapter_file import load, save

__all__ = ["load", "save"]
