"""PEFT as something to compare with, where it can be had. The cell imports it; lorabook never does."""

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def peft_or_advice() -> Iterator[None]:
    """Run a comparison with PEFT; where it is missing or refuses to work, say what to do and go on.

        with peft_or_advice():
            from peft import PeftModel
            ...

    PEFT 0.19 and newer raise ImportError beside an old torchao, such as 0.10, at the first layer they adapt. Warnings
    in the block are left out: PEFT calls transformers by older names.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImportError as error:
        if "torchao" in str(error):
            advice = "%pip uninstall -y torchao (nothing here needs it)"
        else:
            advice = f"%pip install -U {error.name or 'peft'}"
        print(f"This comparison cannot be made here: {error}")
        print(f"To compare, run {advice}, then this cell again.")
