"""The old place of `lorabook.models.quantized`, which goes with the next release."""

from lorabook.models.quantized import dequantize, quantize

__all__ = ["dequantize", "quantize"]
