"""The parts of the training loop: trained parameters, their optimizer, memory, progress, a stop button."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from lorabook.errors import SettingError
from lorabook.lora import LoRALinear, lora_layers
from lorabook.train_config import TrainConfig


@contextlib.contextmanager
def stop_button() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets; a second Ctrl-C interrupts at once. Signals reach the main thread only."""
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    previous = signal.getsignal(signal.SIGINT)

    def press(signum: int, frame: Any) -> None:
        pressed.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, press)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, previous)


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Name and tensor of everything that will be trained."""
    if any(layer.merged for _, layer in lora_layers(model)):
        raise SettingError("The LoRA update is merged into the base.", "Call unmerge(model) before training.")
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise SettingError("No parameter of this model requires a gradient.", "Call apply_lora(model, config) first.")
    if wrong := next((n for n, p in named if p.dtype != torch.float32), None):
        raise SettingError(
            f"The trained parameter {wrong} is {model.get_parameter(wrong).dtype}, not float32.",
            "Keep trained weights in float32: apply LoRA after casting the base, or load the model in float32.",
        )
    return named


def make_optimizer(model: nn.Module, named: list[tuple[str, nn.Parameter]], config: TrainConfig) -> torch.optim.AdamW:
    """AdamW, in the order of `named`; with LoRA+ the factors B of linear layers form a second, faster group."""
    fast = set()
    if config.lora_plus:
        fast = {id(layer.B) for _, layer in lora_layers(model) if isinstance(layer, LoRALinear)}
        named.sort(key=lambda item: id(item[1]) in fast)
    groups = [{"params": [p for _, p in named if id(p) not in fast], "lr": config.lr}]
    if fast:
        groups.append({"params": [p for _, p in named if id(p) in fast], "lr": config.lr * (config.lora_plus or 1)})
    return torch.optim.AdamW(groups, lr=config.lr, weight_decay=config.weight_decay)


def set_activation_checkpointing(model: nn.Module, wanted: bool | None, device: torch.device) -> None:
    if not (device.type == "cuda" if wanted is None else wanted):
        return
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable  # type: ignore
    enable({"use_reentrant": False})


def progress_bar(total: int | None, initial: int, main: bool):
    """A progress bar where someone can see it: a widget in a notebook, text in a terminal, nothing in a log file."""
    from tqdm.auto import tqdm

    shown = main and ("ipykernel" in sys.modules or sys.stderr.isatty())
    return tqdm(total=total, initial=initial, unit="step", disable=not shown)


def peak_bytes(device: torch.device) -> int:
    """The highest memory use so far: of CUDA's allocator, else of the whole process (0 where unknown)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # Windows
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def out_of_memory(error: BaseException) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
