"""The first cell of every notebook."""

import lorabook
from lorabook.models.quantized import quiet_bitsandbytes


def setup() -> None:
    """Make this kernel quiet and readable: no progress bars or advice of other libraries between the cells."""
    import datasets
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    quiet_bitsandbytes()
    print(f"lorabook {lorabook.__version__} is ready.")
