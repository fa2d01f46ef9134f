"""Which GPUs have room for a peak, in words."""

from lorabook.memory.estimate import Estimate
from lorabook.memory.gpus import GPUS, fits
from lorabook.workbook.kit.sizes import size_text

T4 = "T4"


def room_for(peak: int) -> str:
    """Which GPUs have room for `peak` bytes, in sentences."""
    roomy = fits(peak)
    return (
        f"Room for the peak: {', '.join(roomy) or 'none'}. "
        f"Too small: {', '.join(gpu for gpu in GPUS if gpu not in roomy) or 'none'}. "
        "The CUDA context takes some hundred MiB more."
    )


def title_of(model: str, how: str, chosen: Estimate, full: Estimate) -> str:
    """What `model` needs when it is trained as `chosen`, called `how`, and whether a T4 has room for that."""
    need = size_text(chosen.predicted_peak)
    here, there = (T4 in fits(each.predicted_peak) for each in (chosen, full))
    if chosen == full:
        return f"Full fine-tuning of {model} needs {need}: a T4 has {'' if here else 'no '}room for it"
    verdict = {
        (True, True): "a T4 has room for either",
        (True, False): "a T4 has room for it, and none for full fine-tuning",
        (False, True): "a T4 has room for full fine-tuning alone",
        (False, False): "a T4 has room for neither",
    }
    return f"{model} with {how} needs {need}: {verdict[here, there]}"
