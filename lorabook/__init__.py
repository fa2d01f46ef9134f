"""LoRA, written to be read: the library behind the workbook in `notebooks/`."""

__version__ = "0.1.0"
