"""Which of Accelerate's engines a step is right under: one process, or several with a copy of the model each.

Others would be wrong without a word, or fail late: DeepSpeed makes every micro-batch a step, FSDP takes the parameters
apart that the optimizer, the checkpoints and the run's identity are about.
"""

import os
from importlib.util import find_spec

from lorabook.errors import SettingError

TESTED = ("NO", "MULTI_CPU", "MULTI_GPU")  # of `accelerate.utils.DistributedType`
SWITCHES = {  # as `accelerate launch`, and an Accelerator given such a plugin, set them to "true"
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_FSDP": "its FSDP plugin",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "its parallelism plugin",
    "ACCELERATE_USE_SAGEMAKER": "SageMaker",
}


def refuse_engines() -> None:
    """Raise SettingError where the environment asks for an engine that is not tested, or PyTorch/XLA would take over.

    To be called before anything is loaded or written; `check_engine` is for the rest.
    """
    for switch, name in SWITCHES.items():
        if os.environ.get(switch, "").lower() == "true":
            raise _refusal(f"{name} ({switch} is set)")
    if find_spec("torch_xla"):
        from accelerate.utils import is_torch_xla_available

        if is_torch_xla_available():
            raise _refusal("TPUs (torch_xla is installed, and has a device)")


def check_engine(distributed_type: str) -> None:
    """Raise SettingError for a `DistributedType` of an Accelerator, by its value, that is not in TESTED."""
    if distributed_type not in TESTED:
        raise _refusal(f"the distributed type {distributed_type}")


def _refusal(engine: str) -> SettingError:
    return SettingError(
        f"Accelerate would use {engine}, under which no run of lorabook was tested.",
        "Use one process, or several with accelerate launch --multi_gpu or torchrun; with --shard if one GPU is too "
        "small.",
    )
