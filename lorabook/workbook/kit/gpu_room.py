"""Which GPUs have room for a peak, in words."""

from lorabook.memory.estimate import Estimate
from lorabook.memory.gpus import GPUS, fits, tight
from lorabook.sizes import size_text

T4 = "T4"


def room_for(peak: int) -> str:
    """Which GPUs have room for `peak` bytes, in sentences."""
    roomy, narrow = fits(peak), tight(peak)
    small = [gpu for gpu in GPUS if gpu not in roomy + narrow]
    between = f"With less than 1 GiB to spare: {', '.join(narrow)}. " if narrow else ""
    return f"Fits on: {', '.join(roomy) or 'none of these GPUs'}. {between}Too small: {', '.join(small) or 'none'}."


def title_of(model: str, how: str, chosen: Estimate, full: Estimate) -> str:
    """What `model` needs when it is trained as `chosen`, called `how`, and whether Colab's T4 has room for that."""
    need = size_text(chosen.predicted_peak)
    here = T4 in fits(chosen.predicted_peak)
    if chosen == full:
        return f"Full fine-tuning of {model} needs {need}: it {'fits' if here else 'does not fit'} on Colab's T4"
    return f"{model} with {how} needs {need}{' and fits on' if here else ', too much for'} Colab's T4"
