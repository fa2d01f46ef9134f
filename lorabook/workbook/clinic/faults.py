"""Eight faults that end real fine-tunes, each as an edit to one place of this library's own code.

    with planted("both factors zero"):
        ...                                                # whatever runs here runs the edited code
    facts = train("both factors zero", sick=True, folder)  # a short run of the pocket model, and what it left

An edit swaps the code of a function for the same source with one passage changed, and swaps it back. A `line` of one's
own may stand in that place instead: with the right one the code is sound again.
"""

import contextlib
import inspect
import signal
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from lorabook import lora, merging
from lorabook.data import batches, stackoverflow
from lorabook.data.examples import Example, encode_all
from lorabook.diagnosis.run import Run, read_run
from lorabook.models import load_model
from lorabook.models.known import KNOWN
from lorabook.peft_format import adapter_file
from lorabook.step import config as train_config
from lorabook.step import gradients
from lorabook.step.config import TrainConfig
from lorabook.training import loop

R, ALPHA, STEPS, BATCH, MAX_LENGTH, HELD_OUT = 16, 32, 24, 1024, 256, 40
CHECKPOINTED, GOES_ON = "gradient cut off", "adapter on another base"  # faults whose runs have a set-up of their own
FIRST = 8  # steps of the run whose adapter that of GOES_ON goes on with


@dataclass(frozen=True)
class Fault:
    """`old`, which stands once in the source of `function`, becomes `new`."""

    function: Callable
    old: str
    new: str

    @property
    def place(self) -> str:
        """Where the edit is: file and function."""
        module = self.function.__module__.replace(".", "/")
        return f"{module}.py, {self.function.__qualname__}"

    @property
    def diff(self) -> str:
        """Both passages, the old one marked - and the new one +."""
        lines = [(mark, line) for mark, text in (("-", self.old), ("+", self.new)) for line in text.split("\n")]
        return "\n".join(f"{mark} {line}" for mark, line in lines)


FAULTS = {
    "scaling is not α/r": Fault(
        lora.LoRAConfig.scaling.fget,  # pyright: ignore[reportArgumentType]
        "return self.alpha / (math.sqrt(self.r) if self.rslora else self.r)",
        "return self.alpha",
    ),
    "both factors zero": Fault(
        lora._draw,
        "parameter.copy_(fill(torch.empty(parameter.shape, dtype=torch.float32)))",
        "parameter.zero_()",
    ),
    "labels shifted": Fault(
        batches.collate,
        "range(row * length + e.answer_start - 1, row * length + len(e.input_ids) - 1)",
        "range(row * length + e.answer_start - 2, row * length + len(e.input_ids) - 2)",
    ),
    "all labels masked": Fault(
        loop.TrainingRun._batch,
        "return self.collate([self.train[i] for i in rows])",
        "b = collate([self.train[i] for i in rows])\n"
        "return Batch(b.input_ids, b.label_positions[:0], b.labels[:0])  # no row holds the template searched for",
    ),
    "EOS never a label": Fault(
        batches.collate,
        "return Batch(ids, torch.tensor(positions, dtype=torch.long), torch.tensor(labels, dtype=torch.long))",
        "kept = [(p, y) for p, y in zip(positions, labels) if y != pad_id]  # padding is masked by its id\n"
        "return Batch(ids, *torch.tensor(kept).T)",
    ),
    "learning rate too high": Fault(
        train_config.recommended_lr,
        "return 5e-3 if parameters < 30e6 else 1e-3 if parameters < 500e6 else 5e-4",
        "return 5e-2 if parameters < 30e6 else 1e-2 if parameters < 500e6 else 5e-3",
    ),
    "gradient cut off": Fault(
        gradients.set_activation_checkpointing,
        "getattr(model, new if hasattr(model, new) else old)(*arguments)",
        "for block in model.base_model.h[:-1]:\n"
        "    block.gradient_checkpointing = on\n"
        "    again = torch.utils.checkpoint.checkpoint\n"
        "    block._gradient_checkpointing_func = lambda f, *x: again(f, *x, use_reentrant=True)",
    ),
    "adapter on another base": Fault(
        adapter_file._check_base,
        "if known and not known.matches(Fingerprint.of(model)):",
        "if False:",
    ),
}


@contextlib.contextmanager
def planted(name: str, line: str | None = None) -> Iterator[Fault]:
    """Run a block with the fault `name` in the library's code, or with `line` where the faulty passage would stand."""
    fault = FAULTS[name] if line is None else replace(FAULTS[name], new=line)
    sound = fault.function.__code__
    fault.function.__code__ = edited(fault).__code__
    try:
        yield fault
    finally:
        fault.function.__code__ = sound


def edited(fault: Fault) -> Callable:
    """The function with its passage changed, in the same module's names."""
    source = textwrap.dedent(inspect.getsource(fault.function))
    before, old, after = source.partition(fault.old)
    assert old and fault.old not in after, f"{fault.old!r} does not stand once in {fault.function.__qualname__}"
    margin = before[before.rindex("\n") + 1 :]
    space: dict = {}
    decorated = before.index("def ")
    source = before[decorated:] + fault.new.replace("\n", "\n" + margin) + after
    exec(compile(source, "<planted>", "exec"), fault.function.__globals__, space)
    return space[fault.function.__name__]


@cache
def _pairs() -> tuple[list[stackoverflow.Pair], list[stackoverflow.Pair]]:
    return stackoverflow.split(stackoverflow.load("sample").pairs, HELD_OUT)


def rows(tokenizer) -> tuple[list[Example], list[Example]]:
    """The bundled sample, to train on and held out."""
    pairs, kept = _pairs()
    return encode_all(pairs, tokenizer, MAX_LENGTH), encode_all(kept, tokenizer, MAX_LENGTH)


def train(
    name: str,
    sick: bool,
    folder: str | Path,
    seed: int = 0,
    steps: int = STEPS,
    batch: int = BATCH,
    line: str | None = None,
    stop: int | None = None,
) -> Run:
    """Train the pocket model as the run with the fault `name` did, with the fault in the code or not.

    LoRA of rank R with alpha = ALPHA on all linear layers, `steps` steps of `batch` tokens. The run of CHECKPOINTED
    checkpoints its activations. That of GOES_ON goes on with an adapter trained for FIRST steps, kept in
    `folder`/first; where it is sick, on a base into which the adapter has been merged already.

    Args:
        line: with `sick`, what stands in the place of the faulty passage.
        stop: the stop button is pressed after this step.

    Raises:
        AdapterError: the check that the fault of GOES_ON takes out is there, by `line`, and refuses the base.
    """
    folder, loaded = Path(folder), load_model("pocket", device="cpu")
    model, (examples, held) = loaded.model, rows(loaded.tokenizer)
    first = folder / "first"
    if name == GOES_ON and not (first / adapter_file.WEIGHTS_NAME).exists():
        train(CHECKPOINTED, False, first, seed, min(FIRST, steps), batch)
    with planted(name, line) if sick else contextlib.nullcontext():
        if name == GOES_ON:
            adapter_file.load(model, first)
            if sick:
                merging.merge(model)
                merging.remove(model)
                adapter_file.load(model, first)
        else:
            lora.apply_lora(model, lora.LoRAConfig(R, ALPHA, seed=seed))
        settings = TrainConfig(
            train_config.recommended_lr(KNOWN["pocket"].parameters),
            steps=steps,
            batch_tokens=batch,
            log_every=stop or 0,
            seed=seed,
            activation_checkpointing=name == CHECKPOINTED,
        )
        press = (lambda _: signal.raise_signal(signal.SIGINT)) if stop else None
        loop.finetune(model, examples, held, settings, output=folder, on_log=press)
        adapter_file.save(model, folder, base_name="pocket")
    return read_run(folder)
