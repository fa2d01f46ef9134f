"""The parts of the training loop: trained parameters, their optimizer, a stop button, memory, a run's identity."""

import contextlib
import hashlib
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from lorabook.batches import Batch, Example
from lorabook.errors import SettingError
from lorabook.history import History
from lorabook.lora import LoRALinear, lora_layers
from lorabook.precision import precision_for
from lorabook.quantized import guard_cpu
from lorabook.subspace import subspace_of
from lorabook.train_config import TrainConfig

# Settings that a resumed run may change.
NO_GRADIENT = ("micro_tokens", "activation_checkpointing", "checkpoint_every", "log_every", "evaluate_every")


@contextlib.contextmanager
def stop_button() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, or SIGTERM, with which systems end a job; a second one interrupts at once.

    Signals reach the main thread only.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed
        return
    at_once = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    previous = {number: signal.getsignal(number) for number in at_once}

    def press(signum: int, frame: Any) -> None:
        pressed.set()
        for number, handler in at_once.items():
            signal.signal(number, handler)

    for number in at_once:
        signal.signal(number, press)
    try:
        yield pressed
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Name and tensor of everything that will be trained: what requires a gradient, or what a subspace trains."""
    guard_cpu(model)
    if any(layer.merged for _, layer in lora_layers(model)):
        raise SettingError("The LoRA update is merged into the base.", "Call unmerge(model) before training.")
    subspace = subspace_of(model)
    named = subspace.trained() if subspace else [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    if not named:
        raise SettingError("No parameter of this model requires a gradient.", "Call apply_lora(model, config) first.")
    if wrong := next((n for n, p in named if p.dtype != torch.float32), None):
        raise SettingError(
            f"The trained parameter {wrong} is {dict(named)[wrong].dtype}, not float32.",
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


def accelerator_for(device: torch.device):
    """An Accelerator with the device's autocast and loss scaler, whatever an earlier run in this process used.

    Raises:
        SettingError: the environment speaks of several processes, and they cannot meet.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from accelerate.utils import GradientAccumulationPlugin

    mixed = {None: "no", torch.float16: "fp16", torch.bfloat16: "bf16"}[precision_for(device).autocast]
    state = AcceleratorState._shared_state
    if state and (state["_mixed_precision"], state["device"].type) != (mixed, device.type):
        AcceleratorState._reset_state(reset_partial_state=True)
    # A plugin, not a number: a number gives way to ACCELERATE_GRADIENT_ACCUMULATION_STEPS, and every gradient would be
    # divided by it, although the loop here accumulates by itself.
    whole_steps = GradientAccumulationPlugin(num_steps=1)
    try:
        return Accelerator(mixed_precision=mixed, cpu=device.type == "cpu", gradient_accumulation_plugin=whole_steps)
    except ValueError as error:
        raise SettingError(
            f"The processes of this run cannot meet ({str(error).splitlines()[0]}).",
            "Start it with accelerate launch or torchrun, or unset what a launcher left: LOCAL_RANK, RANK, WORLD_SIZE.",
        ) from error


def gradient_step(
    loss: nn.Module, batch: Batch, factor: float, backward: Callable[[torch.Tensor], object]
) -> torch.Tensor:
    """Forward and backward of one micro-batch: adds the gradient of factor * summed loss, returns the summed loss."""
    total = loss(batch.input_ids, batch.label_positions, batch.labels)
    backward(total * factor)
    return total.detach()


def set_activation_checkpointing(model: nn.Module, wanted: bool | None, device: torch.device) -> None:
    """Switch recomputation of activations on or off; `wanted` None means on for CUDA only."""
    on = device.type == "cuda" if wanted is None else wanted
    verb, arguments = ("enable", [{"use_reentrant": False}]) if on else ("disable", [])
    old, new = f"gradient_checkpointing_{verb}", f"activation_checkpointing_{verb}"  # renamed within transformers 5
    getattr(model, new if hasattr(model, new) else old)(*arguments)
    # transformers asks for the gradient of the embeddings' output too. Only reentrant checkpoints need that tensor.
    if getattr(model, "_require_grads_hook", None) is not None:
        model.disable_input_require_grads()  # pyright: ignore[reportCallIssue]


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


def progress_line(history: History, total: int | None) -> str:
    """The last step in one line."""
    last, of = history.steps[-1], f"/{total}" if total else ""
    return (
        f"step {last.step}{of}  loss {last.loss:.3f}  lr {last.lr:.1e}  "
        f"{history.tokens_per_second:,.0f} tokens/s  peak {last.peak_bytes / 2**30:.2f} GiB"
    )


def identity(
    model: nn.Module,
    named: list[tuple[str, nn.Parameter]],
    train: Sequence[Example],
    held_out: Sequence[Example],
    config: TrainConfig,
    processes: int,
) -> dict[str, Any]:
    """What two runs must agree on for one to go on from the other's checkpoint, each item under its name.

    Settings that change no gradient are left out. Rows and weights count by their hash; of every frozen weight up to
    64 values enter it.
    """

    def digest(lines: Iterable[str]) -> str:
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def spread(p: torch.Tensor) -> list[float]:
        return p.detach().flatten()[:: max(1, p.numel() // 64)].float().tolist()

    subspace = subspace_of(model)
    start = subspace.theta0 if subspace else {}  # the weights that a subspace moves are known by where they began
    fixed = {n: p for n, p in model.named_parameters() if not p.requires_grad} | start
    return {k: v for k, v in asdict(config).items() if k not in NO_GRADIENT} | {
        "processes": processes,
        "LoRA settings": str(getattr(model, "lora_config", None)),
        "subspace": str(subspace),
        "trained parameters": digest(f"{n} {tuple(p.shape)}" for n, p in named),
        "frozen weights": digest(f"{n} {spread(p)}" for n, p in fixed.items()),
        "rows to train on": digest(map(str, train)),
        "held-out rows": digest(map(str, held_out)),
    }
