"""One run of `benchmarks/gpu.py`: a few training steps of one contender, on a T4's terms.

    python -m benchmarks.runs.t4 ORDER

started by it in a process of its own, so that no run meets what another left in the allocator; ORDER and the answer,
its last line, are JSON. On the CPU, with a tiny model, `work` is called as it is.
"""

import contextlib
import io
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lorabook import LoRAConfig, apply_lora
from lorabook.data.examples import Example
from lorabook.errors import TrainingError
from lorabook.memory.counter import StorageCounter
from lorabook.memory.families import shape_of
from lorabook.memory.gpus import GPUS
from lorabook.memory.plan import Plan
from lorabook.models.attention import attention_for
from lorabook.models.precision import precision_for
from lorabook.step.config import TrainConfig
from lorabook.training.loop import finetune

T4 = (7, 5)
LORA = LoRAConfig(r=16, alpha=32, targets=("c_attn", "c_proj", "c_fc"))


@dataclass(frozen=True)
class Setting:
    """A model, a cap in bytes, and what is tried: a search has its sequence and whether activations are recomputed."""

    model: str
    sizes: dict[str, Any]
    device: str
    cap: int
    tokens: int
    sequences: tuple[int, ...]
    searches: tuple[tuple[int, bool], ...]

    def config(self):
        from transformers import GPTBigCodeConfig

        return GPTBigCodeConfig(**self.sizes, bos_token_id=0, eos_token_id=0)

    def plan(self, rows: int, sequence: int, checkpointing: bool, contender: str = "lorabook") -> Plan:
        weights = "fp16" if self.device == "cuda" else "fp32"
        labels = rows * (sequence - 1)
        plain = {"loss": "plain", "attention": "math"} if contender == "PEFT" else {"labels": labels}
        return Plan(LORA, rows, sequence, weights, checkpointing=checkpointing, **plain)  # pyright: ignore


def full_size() -> Setting:
    shape = shape_of("bigcode/starcoderbase-1b")
    sizes = {"vocab_size": shape.vocabulary, "n_embd": shape.width, "n_layer": shape.layers, "n_head": shape.heads}
    sizes |= {"n_inner": shape.inner, "n_positions": shape.positions}
    searches = ((512, True), (2048, True), (512, False))
    return Setting(shape.name, sizes, "cuda", GPUS["T4"], 4096, (512, 2048, 4096), searches)


def tiny() -> Setting:
    sizes = {"vocab_size": 512, "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}
    dropouts = dict.fromkeys(("attn_pdrop", "resid_pdrop", "embd_pdrop"), 0.0)  # a CPU's attention drops by MATH only
    return Setting("tiny", sizes | dropouts, "cpu", 6 * 2**20, 128, (32, 128), ((32, True), (32, False)))


SETTINGS = {"cuda": full_size, "cpu": tiny}


@dataclass(frozen=True)
class Job:
    """One run: `steps` training steps of a contender on `rows` rows of `sequence` tokens."""

    contender: str
    rows: int
    sequence: int
    checkpointing: bool
    steps: int


def work(setting: Setting, job: Job) -> dict[str, Any]:
    """Run `job` in this process: seconds of every step after the first, bytes at the peak, and what was used for it."""
    if setting.device == "cuda":
        hold_to_a_t4(setting.cap)
    torch.manual_seed(0)
    device, stamps = torch.device(setting.device), []
    precision, lorabook = precision_for(device), job.contender == "lorabook"
    from transformers import AutoModelForCausalLM

    attention = attention_for(device) if lorabook else "sdpa"
    with device:
        model = AutoModelForCausalLM.from_config(
            setting.config(), dtype=precision.weights, attn_implementation=attention
        )
    ids = torch.randint(1, setting.sizes["vocab_size"], (job.rows, job.sequence)).tolist()

    def stamp(*_: Any, **__: Any) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()
        stamps.append(time.perf_counter())

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            adapted, train = (with_lorabook if lorabook else with_peft)(model, ids, job, stamp)
            with peak_of(adapted, device) as peak:
                train()
    except (torch.OutOfMemoryError, TrainingError, ImportError) as error:
        return {"failed": f"{type(error).__name__}: {error}".splitlines()[0]}
    if device.type == "cuda" and torch.cuda.memory_stats()["num_ooms"]:
        return {"failed": "out of memory, and finetune went on with smaller micro-batches"}
    return {
        "seconds": [later - earlier for earlier, later in itertools.pairwise(stamps)],
        **peak,
        "weights": str(precision.weights).removeprefix("torch."),
        "trained": str(next(p.dtype for p in adapted.parameters() if p.requires_grad)).removeprefix("torch."),
        "attention": attention_path(adapted, torch.tensor(ids, device=device)[:1, :512], precision.autocast),
    }


def hold_to_a_t4(cap: int) -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, cap / total))
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.cuda.get_device_capability = lambda device=None: T4


@contextlib.contextmanager
def peak_of(model: nn.Module, device: torch.device) -> Iterator[dict[str, int]]:
    """The most bytes of tensors inside the block: CUDA's allocator says it, on a CPU the counter of storages."""
    found: dict[str, int] = {}
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        yield found
        found |= {"peak": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    else:
        with StorageCounter([*model.parameters(), *model.buffers()]) as counter:
            yield found
        found["peak"] = counter.peak


def with_lorabook(model: Any, ids: list[list[int]], job: Job, stamp: Callable[..., None]):
    apply_lora(model, LORA)
    examples = [Example(tuple(row), 1, i) for i, row in enumerate(ids)]
    tokens = job.rows * job.sequence
    config = TrainConfig(
        steps=job.steps,
        batch_tokens=tokens,
        micro_tokens=tokens,
        activation_checkpointing=job.checkpointing,
        log_every=1,
    )
    return model, lambda: finetune(model, examples, examples[:1], config, on_log=stamp)


def with_peft(model: Any, ids: list[list[int]], job: Job, stamp: Callable[..., None]):
    from peft import LoraConfig, get_peft_model
    from transformers import Trainer, TrainerCallback, TrainingArguments, default_data_collator

    class Stamps(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            stamp()

    cuda = next(model.parameters()).is_cuda
    known = {field.name for field in fields(TrainingArguments)}
    again = "activation_checkpointing" if "activation_checkpointing" in known else "gradient_checkpointing"
    targets = list(LORA.targets)
    lora = LoraConfig(r=LORA.r, lora_alpha=int(LORA.alpha), target_modules=targets, task_type="CAUSAL_LM")
    adapted = get_peft_model(model, lora)
    rows = [{"input_ids": row, "attention_mask": [1] * len(row), "labels": row} for row in ids]

    def train() -> None:
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                folder,
                max_steps=job.steps,
                per_device_train_batch_size=job.rows,
                fp16=cuda,
                use_cpu=not cuda,
                dataloader_pin_memory=cuda,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                **{again: job.checkpointing, f"{again}_kwargs": {"use_reentrant": False}},
            )
            trainer = Trainer(
                adapted,
                arguments,
                default_data_collator,
                train_dataset=rows,
                callbacks=[Stamps()],  # pyright: ignore
            )
            trainer.train()

    return adapted, train


class _Kernels(TorchDispatchMode):
    """Collects the names of the attention kernels that are called; the MATH path consists of other operators."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "scaled_dot_product" in (name := func.overloadpacket.__name__):
            self.names.add(name.removeprefix("_scaled_dot_product_"))
        return func(*args, **(kwargs or {}))


def attention_path(model: Any, ids: torch.Tensor, autocast: torch.dtype | None) -> str:
    """The kernel that scaled_dot_product_attention takes for `model` in training, or "math"."""
    model.train()
    with torch.autocast(ids.device.type, autocast, enabled=autocast is not None), _Kernels() as kernels:
        model(input_ids=ids, use_cache=False, logits_to_keep=1)
    return ", ".join(sorted(kernels.names)) or "math"


def main() -> None:
    order = json.loads(sys.argv[1])
    print(json.dumps(work(SETTINGS[order["device"]](), Job(**order["job"]))))


if __name__ == "__main__":
    main()
