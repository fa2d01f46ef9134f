"""The command line: finetune, ask, merge, memory, doctor, workbook.

Every result line reads `name: value`. Defaults are those of LoRAConfig, TrainConfig, Plan.
"""

import atexit
import gc
import json
import os
import shlex
import sys
import tempfile
from dataclasses import replace
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from lorabook import __version__
from lorabook.atomic import only_writer, replace_text, usual_permissions
from lorabook.console import say
from lorabook.errors import LorabookError, SaveError, SettingError
from lorabook.lora_config import LoRAConfig
from lorabook.memory.families import shape_of
from lorabook.memory.plan import Plan
from lorabook.reader_copy import unrun
from lorabook.sizes import size_text
from lorabook.step.config import TrainConfig, recommended_lr
from lorabook.step.engines import refuse_engines

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Fine-tune a causal language model with LoRA layers that can be read, and look at what it learned.",
)

ModelOption = Annotated[
    str,
    typer.Option(
        help="'pocket' (ships with lorabook), 'smollm2' (135 million parameters), a hub id, a folder or a .gguf file."
    ),
]
ROption = Annotated[int, typer.Option(help="Rank of the update.")]
AlphaOption = Annotated[float, typer.Option(help="The update is scaled by alpha / r.")]
DropoutOption = Annotated[float, typer.Option(help="Dropout on the input of the LoRA factors.")]
TargetsOption = Annotated[str, typer.Option(help="Module names, separated by commas, or 'all-linear'.")]


class Packing(StrEnum):
    """The formats of `--quantize`."""

    nf4 = "nf4"


QuantizeOption = Annotated[
    Packing | None, typer.Option(help="'nf4' holds the base's linear layers in 4 bits; needs lorabook[quantized].")
]
COSTLY = 0.5  # nats of a token, which the model then gives less than 61%
INTERRUPTED = 130  # exit code, as the shell's for a command that Ctrl-C ended
TARGETS = ",".join(LoRAConfig.targets)
AdapterOption = Annotated[Path, typer.Option(help="Folder that `lorabook finetune` or PEFT wrote an adapter to.")]


def main() -> None:
    """Run the command line. An error that the user can fix ends with its two sentences and exit code 2."""
    atexit.register(gc.freeze)  # else Python looks for garbage among all that was imported before it ends: a second
    try:
        if any("\ud800" <= character <= "\udfff" for argument in sys.argv for character in argument):
            raise SettingError("An argument holds bytes that are no UTF-8 text.", "Type it again, or rename the file.")
        app()
    except LorabookError as error:
        print(f"lorabook: {error}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("lorabook: stopped.", file=sys.stderr)
        raise


def _version(asked: bool) -> None:
    if asked:
        print(f"lorabook {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog="Example: lorabook finetune --model pocket --data sample --r 16 --alpha 32 --output my-adapter",
)
def finetune(
    context: typer.Context,
    model: ModelOption = "pocket",
    data: Annotated[
        str,
        typer.Option(
            help="'sample' (ships with lorabook), a .jsonl[.gz], .csv or .parquet file with the columns question and "
            "answer, or messages, or StackOverflow's, a folder with Kaggle's Questions.csv and Answers.csv, or a data "
            "set's hub id."
        ),
    ] = "sample",
    text_format: Annotated[
        str, typer.Option(help="'html' or 'markdown' (or plain text, kept as it is); 'auto' tells by what is in it.")
    ] = "auto",
    chat_template: Annotated[
        bool, typer.Option("--chat-template", help="Write prompts by the chat template of an instruct model.")
    ] = False,
    rows: Annotated[int | None, typer.Option(min=1, help="Read only the first so many rows of the data.")] = None,
    held_out: Annotated[float, typer.Option(help="Share of the questions kept out of training.")] = 0.2,
    max_length: Annotated[int, typer.Option(min=64, help="Longest question and answer together, in tokens.")] = 512,
    r: ROption = LoRAConfig.r,
    alpha: AlphaOption = LoRAConfig.alpha,
    dropout: DropoutOption = LoRAConfig.dropout,
    targets: TargetsOption = TARGETS,
    quantize: QuantizeOption = None,
    lr: Annotated[
        float | None,
        typer.Option(
            help="Peak learning rate; if left out: 5e-3 below 30 million parameters, 1e-3 below 500 "
            "million, 5e-4 above."
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Times to go through the rows; 1 if left out.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Optimizer steps; goes before --epochs.")] = None,
    minutes: Annotated[
        float | None, typer.Option(help="End within so many minutes, with the learning rate lowered in time.")
    ] = None,
    batch_tokens: Annotated[
        int, typer.Option(min=1, help="Tokens that an optimizer step sees in each process.")
    ] = TrainConfig.batch_tokens,
    micro_tokens: Annotated[int, typer.Option(min=1, help="Tokens that pass the model at once.")] = (
        TrainConfig.micro_tokens
    ),
    seed: Annotated[
        int, typer.Option(help="Of the split, the factors, the order of examples and dropout.")
    ] = TrainConfig.seed,
    shard: Annotated[
        bool,
        typer.Option(
            "--shard",
            help="Each process holds its part of the base, for one too large for a GPU; under torchrun or accelerate "
            "launch.",
        ),
    ] = TrainConfig.shard,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --output.")] = False,
    output: Annotated[Path, typer.Option(help="Folder for the adapter, checkpoints and history.")] = Path("adapter"),
    copy_to: Annotated[
        Path | None, typer.Option(help="A second folder for checkpoints, which --resume finds too: a mounted drive.")
    ] = None,
) -> None:
    """Train LoRA on questions and answers.

    The held-out loss is measured before and after.
    """
    refuse_engines()
    config = LoRAConfig(r, alpha, dropout, _names(targets), seed=seed)
    training = TrainConfig(
        lr=TrainConfig.lr if lr is None else lr,
        epochs=epochs,
        steps=steps,
        minutes=minutes,
        batch_tokens=batch_tokens,
        micro_tokens=micro_tokens,
        shard=shard,
        seed=seed,
    )
    if shard:
        from lorabook.training.shard import refuse_sharding

        refuse_sharding(int(os.environ.get("WORLD_SIZE", "1")), packed=quantize is not None)
    if _main_process():
        context.with_resource(only_writer(output))
    _prepare_output(output, copy_to, resume)
    _check_targets(model, config.targets)
    _say(f"loading: {model}, {data}")
    # what is slow to import, once a mistake in the settings would have been told
    from lorabook.data.examples import encode_all
    from lorabook.data.split import split
    from lorabook.data.stackoverflow import load
    from lorabook.lora import apply_lora
    from lorabook.models.load import preflight
    from lorabook.peft_format import adapter_file
    from lorabook.training.loop import finetune as train

    preflight(model)
    rows_read = load(data, rows=rows, text_format=text_format)
    _say(str(rows_read.report))
    pairs, kept_out = split(rows_read.pairs, held_out, seed)
    loaded = _load_model(model, quantize, in_files=shard)
    if lr is None:
        training = replace(training, lr=recommended_lr(loaded.model.num_parameters()))
    _say(f"learning rate: {training.lr:g}")
    length = min(max_length, getattr(loaded.model.config, "max_position_embeddings", None) or max_length)
    examples, held = (encode_all(some, loaded.tokenizer, length, chat_template) for some in (pairs, kept_out))
    _say(f"questions for training: {len(examples)}")
    _say(f"questions held out: {len(held)}")
    report = apply_lora(loaded.model, config)
    _say(str(report).splitlines()[-1])
    adapter_file.check_savable(loaded.model)
    history = train(loaded.model, examples, held, training, output=output, resume=resume, copy_to=copy_to)
    template = loaded.tokenizer.get_chat_template() if chat_template else None
    if shard or _main_process():
        files = adapter_file.adapter_files(loaded.model, loaded.name, loaded.revision, template)
    if not _main_process():
        return
    _write_adapter(files, output)
    base, tuned = history.held_out[0][1], history.held_out[-1][1]  # the untrained adapter changed nothing
    _say(f"base loss: {base:.4f}")
    _say(f"steps: {len(history.steps)}")
    _say(f"tokens per second: {history.tokens_per_second:.0f}")
    whole = "" if loaded.device.type == "cuda" else ", of the whole process: PyTorch and the data are in it"
    _say(f"peak memory: {history.peak_bytes / 2**30:.2f} GiB{whole}")
    _say(f"adapter: {output}")
    if history.stopped == "interrupted":
        _say("stopped: interrupted, add --resume to go on")
        raise typer.Exit(INTERRUPTED)
    _say(f"held-out loss: {base:.4f} → {tuned:.4f}")
    if model == "pocket":
        _say("note: pocket is too small to answer a question, so expect nonsense; --model smollm2 does better")
    _say(f'to try it: lorabook ask --adapter {shlex.quote(str(output))} "How do I reverse a list?"')


@app.command(epilog='Example: lorabook ask --adapter my-adapter "How do I reverse a list?"')
def ask(
    question: Annotated[str | None, typer.Argument(help="The question, as its title would be written.")] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="Ask every question of this data instead, as `finetune` reads it, and count exact matches. Then "
            "measure the loss with the right and with wrong questions, without the adapter and with it."
        ),
    ] = None,
    by_token: Annotated[
        bool,
        typer.Option(
            "--by-token",
            help="With --data, also show the file's answers, with the tokens marked that the model didn't expect.",
        ),
    ] = False,
    before: Annotated[
        bool, typer.Option("--before", help="With --data, also show what the base answers, without the adapter.")
    ] = False,
    adapter: AdapterOption = Path("adapter"),
    model: Annotated[str | None, typer.Option(help="The base, if not the one the adapter names.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 160,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest token every time.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the sampling.")] = 0,
    quantize: QuantizeOption = None,
    chat_template: Annotated[
        bool,
        typer.Option(
            "--chat-template",
            help="Write the prompt by the base's chat template. An adapter that was saved with one uses it anyway.",
        ),
    ] = False,
) -> None:
    """Ask the tuned model a question, or all those in a file."""
    gc.set_threshold(100_000)  # else Python looks for garbage all the while it imports, half a second in all
    from lorabook.data.examples import Pair
    from lorabook.peft_format import adapter_file
    from lorabook.training.answers import answer, answers, check_temperature

    if (question is None) == (data is None):
        seen = "neither a question nor --data" if data is None else "both a question and --data"
        raise SettingError(f"You gave {seen}.", "Give one of the two.")
    if data is None and (by_token or before):
        raise SettingError(
            "--by-token and --before are for --data.", "Give a file with questions and answers, or leave them out."
        )
    check_temperature(temperature)
    if question is not None:
        pairs = [Pair(0, "", question, "")]
    else:
        from lorabook.data.stackoverflow import load  # slow to import, and one question needs none of it

        pairs = load(str(data)).pairs
    loaded = _with_adapter(adapter, model, quantize)
    if stored := adapter_file.read_chat_template(adapter):
        loaded.tokenizer.chat_template = stored
        chat_template = True
    if chat_template:
        _say("prompt: by the chat template")
    options = (max_new_tokens, temperature, seed)
    if question is not None:
        answer(loaded.model, loaded.tokenizer, pairs[0], *options, chat_template=chat_template, on_text=_say_piece)
        _say("")
        return
    after = answers(loaded.model, loaded.tokenizer, pairs, *options, chat_template=chat_template)
    marked = [_by_token(loaded, pair, chat_template) for pair in pairs] if by_token else []
    compared = _compare_questions(loaded, pairs, chat_template)
    base = answers(loaded.model, loaded.tokenizer, pairs, *options, chat_template=chat_template) if before else []
    for i, pair in enumerate(pairs):
        _say(f"\nquestion: {pair.title or pair.question}\nin the data: {pair.answer}")
        if before:
            _say(f"before: {base[i].text.strip()}")
        _say(f"model: {after[i].text.strip()}")
        if by_token:
            _say(f"by token: {marked[i]}")
    _say("")
    for name, written in (("exact matches before", base), ("exact matches", after)):
        if written:
            equal = sum(said.text.strip() == pair.answer.strip() for pair, said in zip(pairs, written))
            _say(f"{name}: {equal} of {len(pairs)}")
    for line in compared:
        _say(line)


def _by_token(loaded, pair, chat_template: bool) -> str:
    """The pair's answer, with the loss beside each token that costs at least COSTLY nats, both in brackets."""
    from lorabook.data.examples import encode_all
    from lorabook.training.evaluate import token_losses

    (example,) = encode_all([pair], loaded.tokenizer, _length(loaded), chat_template)
    shown = ""
    for token, loss in zip(example.input_ids[example.answer_start :], token_losses(loaded.model, example)):
        text = loaded.tokenizer.decode([token])
        shown += f"[{text} {loss:.2f}]" if loss >= COSTLY else text
    return shown


def _length(loaded) -> int:
    return min(512, getattr(loaded.model.config, "max_position_embeddings", None) or 512)


def _compare_questions(loaded, pairs: list, chat_template: bool) -> list[str]:
    """What the right questions are worth, without the adapter, which is removed, and with it, a line each."""
    from lorabook.data.examples import encode_all, swapped_questions
    from lorabook.merging import remove
    from lorabook.training.evaluate import answer_loss

    length = _length(loaded)
    own, other = swapped_questions(encode_all(pairs, loaded.tokenizer, length, chat_template), length)
    after = [answer_loss(loaded.model, each).loss for each in (own, other) if each]
    remove(loaded.model)
    before = [answer_loss(loaded.model, each).loss for each in (own, other) if each]
    # no line for a single question, or for answers none of which has room beside another question
    names = ("the right questions", "wrong questions")
    return [f"loss with {name}: {old:.3f} → {new:.3f}" for name, old, new in zip(names, before, after)]


@app.command(epilog="Example: lorabook merge --adapter my-adapter --output my-model")
def merge(
    output: Annotated[Path, typer.Option(help="New folder for the merged model.")],
    adapter: AdapterOption = Path("adapter"),
    model: Annotated[str | None, typer.Option(help="The base, if not the one the adapter names.")] = None,
    quantize: Annotated[
        Packing | None,
        typer.Option(help="'nf4' merges into the base as 4 bits round it, where it was trained on."),
    ] = None,
) -> None:
    """Write base and adapter as one ordinary model.

    Transformers loads it without lorabook.
    """
    from safetensors import SafetensorError
    from transformers.utils import logging

    from lorabook import merging
    from lorabook.models.quantized import dequantize

    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise SettingError(f"{output} exists and is not an empty folder.", "Choose another --output.")
    _probe(output)
    loaded = _with_adapter(adapter, model, quantize)
    if quantize:
        dequantize(loaded.model)
    merging.merge(loaded.model, keep_copy=False)
    merging.remove(loaded.model)
    logging.disable_progress_bar()
    try:
        loaded.model.save_pretrained(output)
        loaded.tokenizer.save_pretrained(output)
        usual_permissions(output)
    except (OSError, SafetensorError) as error:
        raise SaveError(
            f"The merged model could not be written to {output} ({error}).",
            "Free some space, or give another --output: the adapter is untouched.",
        ) from error
    _say(f"merged model: {output}")


@app.command(epilog="Example: lorabook memory bigcode/starcoderbase-1b --r 16 --batch 4 --sequence 512 --dry-run")
def memory(
    model: Annotated[str, typer.Argument(help="Such as bigcode/starcoderbase-1b, or a local folder.")] = "pocket",
    r: ROption = LoRAConfig.r,
    alpha: AlphaOption = LoRAConfig.alpha,
    dropout: DropoutOption = LoRAConfig.dropout,
    targets: TargetsOption = TARGETS,
    full: Annotated[bool, typer.Option("--full", help="Full fine-tuning in place of LoRA.")] = False,
    batch: Annotated[int, typer.Option(help="Sequences that pass the model at once.")] = Plan.batch,
    sequence: Annotated[int, typer.Option(help="Tokens of a sequence.")] = Plan.sequence,
    weights: Annotated[str, typer.Option(help="Of the frozen weights: fp32, fp16, bf16 or nf4.")] = Plan.weights,
    optimizer: Annotated[str, typer.Option(help="adamw, adamw8bit or sgd.")] = Plan.optimizer,
    attention: Annotated[str, typer.Option(help="fused, math or eager.")] = Plan.attention,
    checkpointing: Annotated[bool, typer.Option("--checkpointing", help="Recompute activations.")] = False,
    gpus: Annotated[
        int,
        typer.Option(help="Also estimate N GPUs, each with a copy of the model (DDP) or its shard (FSDP, --shard)."),
    ] = Plan.gpus,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Also run the step on the meta device, which allocates nothing.")
    ] = False,
    in_bytes: Annotated[bool, typer.Option("--bytes", help="Sizes in bytes, for scripts.")] = False,
    rehearse: Annotated[bool, typer.Option("--rehearse", hidden=True)] = False,
) -> None:
    """Predict the memory of a training step on a GPU.

    It takes sizes alone: nothing is downloaded or allocated. A step fits a GPU if it leaves 1 GiB free, and is tight if
    it leaves less.
    """
    from lorabook.memory.estimate import estimate
    from lorabook.memory.gpus import GPUS, SPARE, fits, largest_batch, tight

    if rehearse:
        print("lorabook: --rehearse is now called --dry-run; the old name goes with the next release.", file=sys.stderr)
    method = 1.0 if full else LoRAConfig(r, alpha, dropout, _names(targets))
    plan = Plan(method, batch, sequence, weights, optimizer, attention, checkpointing)  # pyright: ignore[reportArgumentType]
    together = {"DDP": replace(plan, gpus=gpus)} if gpus != 1 else {}
    if together and plan.weights != Packing.nf4:  # which is not sharded
        together["FSDP"] = replace(plan, gpus=gpus, shard=True)
    predicted = estimate(model, plan)
    peak = predicted.predicted_peak
    shown = (lambda size: f"{size} bytes") if in_bytes else size_text
    trained = "full fine-tuning" if full else f"LoRA, r = {r}"
    _say(f"plan: {trained}, {batch} sequences of {sequence} tokens at once, {weights} weights, {optimizer}")
    for name, size in predicted.components.items():
        _say(f"{name}: {shown(size)}")
    _say(f"predicted peak: {shown(peak)} of a GPU (not all of the above is there at once)")
    for name, several in together.items():
        _say(f"on each of {gpus} GPUs, {name}: {shown(estimate(model, several).predicted_peak)}")
    if dry_run or rehearse:
        from lorabook.memory.dry_run import dry_run as run

        tried = run(model, plan)
        _say(f"dry run peak: {shown(tried.peak)}")
        peak = max(peak, tried.peak)
    _say(f"trainable parameters: {predicted.trainable:,} of {predicted.parameters:,}")
    for gpu, size in GPUS.items():
        verdict = "fits" if gpu in fits(peak) else "tight" if gpu in tight(peak) else "does not fit"
        room = size - SPARE
        batches = [f"{largest_batch(model, several, room)} ({name})" for name, several in together.items()]
        alone = f"{gpu} ({size / 2**30:.2f} GiB): {verdict}, largest batch {largest_batch(model, plan, room)}"
        _say(alone + (f", on each of {gpus}: {', '.join(batches)}" if batches else ""))


@app.command(epilog="Example: lorabook doctor --run my-adapter")
def doctor(
    run: Annotated[
        Path | None,
        typer.Option(help="Folder that `lorabook finetune`, PEFT, Trainer or TRL wrote; nothing is unpickled."),
    ] = None,
) -> None:
    """Say what this machine can run, or what is wrong with a run.

    Without --run, also what is missing for StarCoder.
    """
    from lorabook.diagnosis import findings, machine

    for line in machine.examine() if run is None else findings.report(run):
        _say(line)


@app.command(epilog="Example: lorabook workbook my-workbook")
def workbook(
    folder: Annotated[Path, typer.Argument(help="A folder for the notebooks, made if need be.")],
    open_it: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the first notebook, if JupyterLab is installed.")
    ] = sys.stdout.isatty(),
) -> None:
    """Write a reader's copy of the notebooks into a folder of your own, and open the first in JupyterLab.

    A notebook that is there already stays as it is.
    """
    package = Path(__file__).parent
    # In a wheel they are inside the package, in a checkout beside it.
    home = package / "notebooks" if (package / "notebooks").is_dir() else package.parent / "notebooks"
    sources = [*sorted(home.glob("*.ipynb")), *sorted(home.glob("*.md"))]
    missing = [source for source in sources if not (folder / source.name).exists()]
    _probe(folder)
    for source in missing:
        text = source.read_text(encoding="utf-8")
        if source.suffix == ".ipynb":
            notebook = json.loads(text)
            unrun(notebook["cells"])
            text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
        replace_text(folder / source.name, text)
    _say(f"notebooks: {folder}, {len(missing)} files written, {len(sources) - len(missing)} there already")
    opening = f"lorabook workbook {shlex.quote(str(folder))} --open"
    if find_spec("jupyterlab") is None:
        _say(f"to open them: pip install jupyterlab, then: {opening}")
    elif open_it:
        # JupyterLab then saves the widgets too: a reopened notebook shows its answers without a kernel
        paths = [os.environ.get("JUPYTER_CONFIG_PATH", ""), str(package / "assets" / "jupyter")]
        environment = os.environ | {"JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))}
        as_root = ["--allow-root"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []  # containers
        # by its address, which JupyterLab then prints too: a file's name opens it in a browser that it starts itself
        start = [f"--ServerApp.root_dir={folder.resolve()}", f"--LabApp.default_url=/lab/tree/{sources[0].name}"]
        os.execve(sys.executable, [sys.executable, "-m", "jupyterlab", *as_root, *start], environment)
    else:
        _say(f"to open them: {opening}")


def _names(targets: str) -> tuple[str, ...]:
    return tuple(t.strip() for t in targets.split(",") if t.strip())


def _check_targets(model: str, targets: tuple[str, ...]) -> None:
    """SettingError for a target that `model` lacks. A model whose sizes are not known is asked once it is loaded."""
    try:
        shape = shape_of(model)
    except SettingError:
        return
    shape.matched(targets)


def _main_process() -> bool:
    """Whether this is the only process, or the first of several: by Accelerate's state once there is one.

    Before, by the variables that a launcher sets, and then all of them: a stray RANK alone means nothing.
    """
    state = sys.modules.get("accelerate.state")
    if state is not None and state.is_initialized():
        return state.AcceleratorState().is_main_process
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def _say(text: str) -> None:
    if _main_process():
        say(text)


def _say_piece(text: str) -> None:
    say(text, end="")


def _prepare_output(output: Path, copy_to: Path | None, resume: bool) -> None:
    """Refuse to write over an earlier run, or into a place that cannot be written, before any work is done."""
    if not resume and ((output / "adapter_config.json").exists() or (output / "checkpoints").exists()):
        raise SettingError(f"{output} already holds a run.", "Add --resume to go on with it, or give another --output.")
    if not resume and copy_to and any(copy_to.glob("step-*")):
        raise SettingError(f"{copy_to} holds the checkpoints of a run.", "Add --resume, or give another --copy-to.")
    _probe(output)
    if copy_to:
        _probe(copy_to)


def _probe(folder: Path) -> None:
    """Make `folder` if need be, and write into it. Raises SettingError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(bytes(2**16))
        probe.unlink()
    except OSError as error:
        raise SettingError(f"{folder} cannot be written ({error.strerror}).", "Give another folder.") from None


def _write_adapter(files, output: Path) -> None:
    """Write an adapter to `output`, or where that fails to a new temporary folder, which the error then names."""
    try:
        files.write(output)
        return
    except SaveError as error:
        problem = error.problem
    try:
        spare = Path(tempfile.mkdtemp(prefix="lorabook-adapter-"))
        files.write(spare)
    except OSError:
        raise SaveError(problem, "Free some space and run this again with --resume: the checkpoint is whole.") from None
    raise SaveError(problem, f"The adapter is in {spare} instead: move it to a place of your own.")


def _load_model(name: str, quantize: Packing | None = None, in_files: bool = False):
    import torch

    from lorabook.models import load_model

    launched = os.environ.get("WORLD_SIZE", "1") != "1" and torch.cuda.is_available()
    device = f"cuda:{os.environ['LOCAL_RANK']}" if launched and "LOCAL_RANK" in os.environ else None
    loaded = load_model(name, device=device, quantize="nf4" if quantize else None, in_files=in_files)
    _say(f"model: {loaded.name}")
    _say(f"revision: {loaded.revision}")
    packed = ", linear layers in 4 bits" if quantize else ""
    _say(f"device: {loaded.device}, weights in {str(loaded.precision.weights).removeprefix('torch.')}{packed}")
    return loaded


def _with_adapter(folder: Path, model: str | None, quantize: Packing | None):
    from lorabook.peft_format import adapter_file

    stored = adapter_file.read_config(folder)
    name = model or stored.get("base_model_name_or_path")
    if not name:
        raise SettingError("The adapter does not name its base model.", "Name it with --model.")
    loaded = _load_model(name, quantize)
    adapter_file.load(loaded.model, folder, base_name=loaded.name)
    return loaded
