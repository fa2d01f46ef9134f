"""One training run of a grid on real questions, kept in a file of its own.

A rate is chosen on the validation split, and the test split is reported. The splits of a model are the same for every
setting and for every number of training questions; a smaller training set is the beginning of a larger one. A run
that was stopped goes on from its last checkpoint.

A setting with `half` computes in bfloat16 by autocast, its weights in float32: on a CPU that multiplies bfloat16 in
hardware, a step of SmolLM2 takes half the time, and its loss differs in the third decimal. Settings that are compared
compute alike.
"""

import argparse
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lorabook import LoRAConfig, apply_lora, count_parameters
from lorabook.data.examples import Example, encode_all
from lorabook.data.split import split
from lorabook.data.stackoverflow import load
from lorabook.lora import LoRAEmbedding, matched
from lorabook.models.load import load_model
from lorabook.models.precision import Precision
from lorabook.step.config import TrainConfig
from lorabook.subspace import apply_subspace
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from lorabook.workbook.many_tasks.bottleneck import BottleneckConfig, apply_bottleneck
from scripts.assets.pocket_runs import kept, live_rows, search

RUNS, TRAINED = Path("build/grid"), "trained.safetensors"
ROWS, MOST_ROWS, VALIDATION, TEST, SPLIT_SEED = 2500, 6000, 60, 100, 0
MAX_LENGTH, BATCH_TOKENS = 256, 2048
LIVE_STEPS, LIVE_HELD = 8, 16


@dataclass(frozen=True)
class Setting:
    """What is trained, and on how much.

    With `width`, bottleneck adapters so wide; with `d`, a random subspace of d dimensions. Else r None is full
    fine-tuning of the weights that `targets` name, of every parameter if they name none, and r a rank of LoRA. Learning
    rates are 1e-3 * 2^k. `embedding_rate` multiplies the scaling of adapted embeddings.
    """

    model: str
    r: int | None
    k: int = 0
    seed: int = 0
    alpha: float = 32
    targets: tuple[str, ...] = ("all-linear",)
    questions: int = 240
    rslora: bool = False
    embedding_rate: float = 1.0
    half: bool = False
    width: int | None = None
    d: int | None = None

    @property
    def lr(self) -> float:
        return 1e-3 * 2.0**self.k

    @property
    def folder(self) -> Path:
        method = "full" if self.r is None else f"r{self.r}-a{self.alpha:g}{'-rs' if self.rslora else ''}"
        if self.width or self.d:
            method = f"bottleneck{self.width}" if self.width else f"subspace{self.d}"
        targets = "+".join(self.targets) + (f"-e{self.embedding_rate:g}" if self.embedding_rate != 1 else "")
        name = f"{self.model}-{self.questions}-{method}-{targets}-k{self.k}-s{self.seed}"
        return RUNS / (f"{name}-bf16" if self.half else name)

    @property
    def key(self) -> dict:
        """What a kept result of this run must have been made with."""
        return asdict(self) | {"length": MAX_LENGTH, "batch": BATCH_TOKENS}


@contextmanager
def arithmetic(half: bool) -> Iterator[None]:
    """Training and evaluation on the CPU in bfloat16, which the library does on GPUs alone; as ever if not `half`."""
    bfloat16 = Precision(torch.float32, torch.bfloat16, "asked for")
    with ExitStack() as stack:
        for module in ("accelerator", "evaluate") if half else ():
            stack.enter_context(patch(f"lorabook.training.{module}.precision_for", return_value=bfloat16))
        yield


@cache
def splits(model: str, data: str, more: bool = False) -> tuple[list[Example], list[Example], list[Example]]:
    """Training, validation and test examples of a model; with `more`, training goes on with questions beyond ROWS."""
    first = load(data, rows=ROWS).pairs
    rest, test = split(first, TEST, SPLIT_SEED)
    rest, validation = split(rest, VALIDATION, SPLIT_SEED)
    if more:
        seen = {pair.question_id for pair in first}
        rest += [pair for pair in load(data, rows=MOST_ROWS).pairs if pair.question_id not in seen]
    tokenizer = load_model(model, device="cpu").tokenizer
    train, validation, test = (encode_all(pairs, tokenizer, MAX_LENGTH) for pairs in (rest, validation, test))
    return train, validation, test


def prepared(s: Setting) -> nn.Module:
    """The model with what `s` trains requiring a gradient, and nothing else."""
    model = load_model(s.model, device="cpu").model
    if s.width:
        apply_bottleneck(model, BottleneckConfig(m=s.width, seed=s.seed))
        return model
    if s.d:
        apply_subspace(model, d=s.d, seed=s.seed)
        return model
    if s.r is not None:
        apply_lora(model, LoRAConfig(s.r, s.alpha, targets=s.targets, rslora=s.rslora, seed=s.seed))
        for module in model.modules():
            if isinstance(module, LoRAEmbedding):
                module.scaling *= s.embedding_rate
        return model
    model.requires_grad_(not s.targets)
    for name in matched(model, s.targets):
        model.get_submodule(name).get_parameter("weight").requires_grad_(True)
    return model


def run(s: Setting, data: str) -> dict:
    """The facts of one run, read again where they are kept. What it trained is beside them."""
    checkpoints = s.folder / "checkpoints"

    def make() -> dict:
        rows, validation, _ = splits(s.model, data, more=s.questions > ROWS - VALIDATION - TEST)
        if len(rows) < s.questions:
            raise SystemExit(f"{data} has {len(rows)} training questions, {s.questions} are needed")
        model = prepared(s)
        config = TrainConfig(lr=s.lr, epochs=1, batch_tokens=BATCH_TOKENS, log_every=0, seed=s.seed)
        with arithmetic(s.half):
            history = finetune(model, rows[: s.questions], validation[:1], config, output=checkpoints, resume=True)
            if history.stopped != "finished":
                raise SystemExit(f"{s.folder.name} was {history.stopped} and is not kept")
            loss = answer_loss(model, validation).loss
        s.folder.mkdir(parents=True, exist_ok=True)
        save_file({name: p.detach() for name, p in model.named_parameters() if p.requires_grad}, s.folder / TRAINED)
        facts = {
            "lr": s.lr,
            "trainable": s.d or count_parameters(model)[0],  # a subspace moves every parameter by d values
            "steps": len(history.steps),
            "answer_tokens": sum(step.label_tokens for step in history.steps),
            "validation": round(loss, 4),
            "seconds": round(sum(step.seconds for step in history.steps), 1),
        }
        print(f"{s.folder.name}: {facts['validation']:.4f}, {facts['seconds']:.0f} s", flush=True)
        return facts

    facts = kept(s.folder / "run.json", s.key, make)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return facts


def tested(s: Setting, data: str) -> dict:
    """The facts of a run and its loss on the test split, which is measured for chosen settings alone."""

    def make() -> dict:
        _, _, test = splits(s.model, data)
        with arithmetic(s.half):
            return {"test": round(answer_loss(model_of(s), test).loss, 4)}

    return run(s, data) | kept(s.folder / "test.json", s.key | {"test": TEST}, make)


def model_of(s: Setting) -> nn.Module:
    """The model that a kept run trained."""
    model = prepared(s)
    trained = load_file(s.folder / TRAINED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(trained[name])
    return model


def tuned(s: Setting, start: Iterable[int], data: str) -> tuple[Setting, dict[str, float]]:
    """`s` at its best rate on the validation split, and the loss there of every rate that was tried.

    The search goes on beyond `start` until the best rate has a worse one on either side.
    """
    tried = search(lambda k: run(replace(s, k=k), data)["validation"], start)
    best = min(tried, key=lambda k: tried[k])
    return replace(s, k=best), {f"{replace(s, k=k).lr:g}": loss for k, loss in sorted(tried.items())}


def base_losses(model: str, data: str, half: bool = False) -> dict[str, float]:
    """The base's loss on both splits."""

    def make() -> dict:
        loaded = load_model(model, device="cpu").model
        _, validation, test = splits(model, data)
        with arithmetic(half):
            return {"validation": answer_loss(loaded, validation).loss, "test": answer_loss(loaded, test).loss}

    name = f"{model}-base{'-bf16' if half else ''}.json"
    return kept(RUNS / name, {"model": model, "length": MAX_LENGTH, "half": half}, make)


def live(s: Setting) -> tuple[nn.Module, list[Example]]:
    """A short run of `s` on the bundled sample, for a test to repeat: the trained model, and the held-out examples."""
    train, held = live_rows(load_model(s.model, device="cpu").tokenizer)
    model = prepared(s)
    config = TrainConfig(lr=s.lr, steps=LIVE_STEPS, batch_tokens=BATCH_TOKENS, log_every=0, seed=s.seed)
    finetune(model, train, held[:1], config)
    return model, held[:LIVE_HELD]


def by_model(doc: str | None, result: Path, models: Iterable[str], experiment: Callable[[str, str], dict]) -> dict:
    """The command line of a script: `experiment(model, data)` of every model, or of the one asked for.

    What `result` has stored of the others stays.
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="real rows, as lorabook.data.stackoverflow.load reads them")
    parser.add_argument("--model", choices=tuple(models), help="this one alone; what is stored of the other stays")
    asked = parser.parse_args()
    found = json.loads(result.read_text())["models"] if result.exists() else {}
    return found | {model: experiment(model, asked.data) for model in ([asked.model] if asked.model else models)}
