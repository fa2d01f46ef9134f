"""Hugging Face's Accelerator, set up for a run: device, autocast, loss scaler, process group."""

import torch

from lorabook.errors import SettingError
from lorabook.models.precision import precision_for
from lorabook.step.engines import check_engine, refuse_engines


def accelerator_for(device: torch.device):
    """An Accelerator with the device's autocast and loss scaler, whatever an earlier run in this process used.

    Raises:
        SettingError: the environment speaks of several processes, and they cannot meet; an engine that is not tested
            (`refuse_engines`).
    """
    refuse_engines()
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, is_initialized
    from accelerate.utils import GradientAccumulationPlugin

    mixed = {None: "no", torch.float16: "fp16", torch.bfloat16: "bf16"}[precision_for(device).autocast]
    if is_initialized():
        earlier = AcceleratorState()
        if (earlier.mixed_precision, earlier.device.type) != (mixed, device.type):
            # One process has one state, and no public call takes it back. Accelerate's own tests do it this way.
            AcceleratorState._reset_state(reset_partial_state=True)
    # A plugin, not a number: a number gives way to ACCELERATE_GRADIENT_ACCUMULATION_STEPS, and every gradient would be
    # divided by it, although the loop here accumulates by itself.
    whole = GradientAccumulationPlugin(num_steps=1)
    try:
        accelerator = Accelerator(mixed_precision=mixed, cpu=device.type == "cpu", gradient_accumulation_plugin=whole)
    except ValueError as error:
        raise SettingError(
            f"The processes of this run cannot meet ({str(error).splitlines()[0]}).",
            "Start it with accelerate launch or torchrun, or unset what a launcher left: LOCAL_RANK, RANK, WORLD_SIZE.",
        ) from error
    check_engine(accelerator.distributed_type.value)
    return accelerator
