"""The first cell of every notebook."""

import gc
import warnings
from importlib import import_module

import lorabook
from lorabook.interrupts import held_back


def setup() -> None:
    """Make this kernel quiet and readable: no progress bars or advice of other libraries between the cells."""
    gc.set_threshold(100_000)  # else Python looks for garbage all the while it imports, half a second in all
    import datasets
    from transformers.utils import logging

    from lorabook.models.quantized import quiet_bitsandbytes

    with held_back():  # cut short by the stop button, an import could not be repeated
        import_module("matplotlib.figure")
        import_module("torch._dynamo")  # by the first optimizer, with SymPy
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    quiet_bitsandbytes()
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    print(f"lorabook {lorabook.__version__} is ready.")
