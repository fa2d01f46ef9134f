"""The first cell of every notebook."""

from importlib import import_module

import lorabook
from lorabook.interrupts import held_back
from lorabook.models.quantized import quiet_bitsandbytes


def setup() -> None:
    """Make this kernel quiet and readable: no progress bars or advice of other libraries between the cells."""
    import datasets
    from transformers.utils import logging

    with held_back():  # cut short by the stop button, an import could not be repeated
        import_module("matplotlib.figure")
        import_module("torch._dynamo")  # by the first optimizer, with SymPy
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    quiet_bitsandbytes()
    print(f"lorabook {lorabook.__version__} is ready.")
