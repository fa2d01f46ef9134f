"""A short fine-tune of the pocket model by the code of a user, right or faulty."""

from functools import cache
from pathlib import Path

from lorabook.data import stackoverflow
from lorabook.data.examples import Example, Pair, encode_all
from lorabook.data.split import split
from lorabook.diagnosis.read_run import Run, read_run
from lorabook.merging import merge, remove
from lorabook.models import load_model
from lorabook.peft_format import adapter_file
from lorabook.step.config import TrainConfig
from tests.kit.broken_runs.user_code import UserCode

R, ALPHA, STEPS, BATCH, MAX_LENGTH, HELD_OUT = 16, 32, 24, 1024, 256, 40
# Faults whose runs have a set-up of their own.
CHECKPOINTED, GOES_ON, LONGER = "gradient cut off", "adapter on another base", "overfitting"
FIRST = 8  # steps of the run whose adapter that of GOES_ON goes on with


@cache
def _pairs() -> tuple[list[Pair], list[Pair]]:
    return split(stackoverflow.load("sample").pairs, HELD_OUT)


def sample(tokenizer) -> tuple[list[Example], list[Example]]:
    """The examples of the bundled sample: to train on, and held out."""
    pairs, kept = _pairs()
    return encode_all(pairs, tokenizer, MAX_LENGTH), encode_all(kept, tokenizer, MAX_LENGTH)


def train(
    name: str,
    code: UserCode,
    folder: str | Path,
    seed: int = 0,
    steps: int = STEPS,
    batch: int = BATCH,
    other_base: bool = False,
) -> Run:
    """Train the pocket model by `code`, in the set-up of the run with the fault `name`.

    LoRA of rank R with alpha = ALPHA on all linear layers, `steps` steps of `batch` tokens. The run of CHECKPOINTED
    checkpoints its activations. That of LONGER takes four times the steps, and measures the held-out loss every eighth
    of them. That of GOES_ON goes on with an adapter trained for FIRST steps, kept in
    `folder`/first.

    Args:
        other_base: GOES_ON goes on from a base into which its adapter has been merged already.

    Raises:
        AdapterError: `code` refuses to load an adapter on another base than its own.
    """
    folder, loaded = Path(folder), load_model("pocket", device="cpu")
    model, (examples, held) = loaded.model, sample(loaded.tokenizer)
    steps *= 4 if name == LONGER else 1
    first = folder / "first"
    if name == GOES_ON:
        if not (first / adapter_file.WEIGHTS_NAME).exists():
            train("", UserCode(), first, seed, min(FIRST, steps), batch)
        if other_base:
            adapter_file.load(model, first)
            merge(model)
            remove(model)
        code.load(model, first)
    else:
        code.apply_lora(model, r=R, alpha=ALPHA, seed=seed)
    settings = TrainConfig(
        code.lr,
        steps=steps,
        batch_tokens=batch,
        log_every=0,
        seed=seed,
        activation_checkpointing=name == CHECKPOINTED,
        evaluate_every=steps // 8 if name == LONGER else 0,
    )
    code.finetune(model, examples[: code.rows], held, settings, output=folder)
    adapter_file.save(model, folder, base_name="pocket")
    return read_run(folder)
