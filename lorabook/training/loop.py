"""One training loop for everything: whatever parameter of the model requires a gradient is trained, or its subspace.

Accelerate carries the device, autocast, the loss scaler and the process group. The rest is here: batches by token
budget, a loss divided by the answer tokens of the whole step, a schedule that only real steps move, exact resume, a
stop button that loses nothing, and a smaller micro-batch where memory runs out.
"""

import contextlib
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lorabook.console import say
from lorabook.data import batches
from lorabook.data.batches import Batch, StepPlan, check_rows, share_of_rank, split_micro_batch
from lorabook.data.examples import Example
from lorabook.errors import CheckpointError, SettingError, TrainingError
from lorabook.interrupts import stop_button
from lorabook.kernels import faster
from lorabook.lora import gathered
from lorabook.memory.advice import make_room, out_of_memory, too_large
from lorabook.models.in_files import dtype_to_read
from lorabook.step.config import TrainConfig, schedule
from lorabook.step.gradients import gradient_step, set_activation_checkpointing
from lorabook.step.loss import AnswerLoss
from lorabook.step.optimizer import make_optimizer, trained
from lorabook.subspace.training import subspace_of
from lorabook.threads import fastest_threads
from lorabook.training import checkpoint
from lorabook.training.accelerator import accelerator_for
from lorabook.training.checkpoint import Checkpoint
from lorabook.training.evaluate import answer_loss
from lorabook.training.history import History, Step
from lorabook.training.identity import identity
from lorabook.training.progress import forget_peak, peak_bytes, progress_bar, progress_line
from lorabook.training.record import RunRecord
from lorabook.training.run_folder import RunFolder
from lorabook.training.shard import check_shardable, shard

FAILURES = 3  # to find memory for one step, each with micro-batches half as large, after which the run ends
MOST_OVERFLOWS = 20  # overflows in a row after which the loss scaler will not recover


def finetune(
    model: nn.Module,
    train: Sequence[Example],
    held_out: Sequence[Example],
    config: TrainConfig,
    *,
    output: str | Path | None = None,
    resume: bool = False,
    copy_to: str | Path | None = None,
    on_log: Callable[[History], None] | None = None,
    collate: Callable[[Sequence[Example]], Batch] = batches.collate,
) -> History:
    """Train whatever in `model` requires a gradient on the answers of `train`; with a subspace, in the subspace.

    The held-out loss is measured before the first step, every `evaluate_every` steps, and after the last, by the same
    code. Ctrl-C, SIGTERM, or the stop button of a notebook finishes the step at hand, saves, and returns. The global
    random state is left as it was. With `config.shard` the model is in shards from then on: `peft_format.save`, called
    by every process, gathers its adapter.

    Args:
        output: folder for checkpoints, `run.json` and `history.json`, written for a failed run too; None keeps nothing.
        resume: go on from the newest whole checkpoint in `output` or `copy_to`, if there is one.
        copy_to: a second folder that gets a copy of every checkpoint, one that outlives the machine: a mounted drive.
        on_log: called with the History every `log_every` steps.
        collate: makes one Batch of several training examples; your own one for data of your own shape. The held-out
            loss is measured on the library's own batches.

    Raises:
        SettingError: nothing to train, a merged model, trained weights that are not fp32; another process is writing
            to `output`; a model that cannot be sharded (`check_shardable`).
        DataError: an example is longer than the model's positions, or holds a token outside its vocabulary.
        TrainingError: the loss is not finite; memory ran out for a single example, or three times in a row, each with
            micro-batches half as large. The weights are those before the step.
        CheckpointError: the checkpoint belongs to another run, the processes do not find the same one, or `output`
            cannot be written when the run begins. Later a checkpoint that cannot be written is a warning, and the run
            goes on.
    """
    if not train or not held_out:
        raise SettingError("There are no training examples or none held out.", "Give more examples.")
    if copy_to and not output:
        raise SettingError("There is a folder for copies and none for checkpoints.", "Give an output folder too.")
    check_rows(model, [*train, *held_out])
    gpus = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    threads = fastest_threads(model, config.micro_tokens)
    with torch.random.fork_rng(devices=gpus), stop_button() as stop, faster(model), threads:
        run = TrainingRun(model, train, held_out, config, output, copy_to, on_log, collate, stop)
        with run.folder.only_writer():
            return run.go(resume)


class TrainingRun:
    """One `finetune` call: its state, then its methods, roughly in the order in which they run."""

    def __init__(self, model, train, held_out, config: TrainConfig, output, copy_to, on_log, collate, stop):
        self.model, self.train, self.held_out, self.config = model, train, held_out, config
        self.on_log, self.collate, self.stop = on_log, collate, stop
        self.named, self.subspace = trained(model), subspace_of(model)
        shards = config.shard and torch.cuda.is_available()  # of a model that is still on the CPU, or in its files
        self.accelerator = accelerator_for(torch.device("cuda") if shards else next(model.parameters()).device)
        self.world, self.rank = self.accelerator.num_processes, self.accelerator.process_index
        self.is_main = self.accelerator.is_main_process
        self.folder = RunFolder(output, copy_to, self.is_main)
        if config.shard:
            check_shardable(model, self.world)
        elif dtype_to_read(model):
            raise SettingError(
                "The weights of this model are still in their files.", "Set shard, or load it without in_files."
            )
        torch.manual_seed(config.seed + self.rank)
        loss = AnswerLoss(model)
        self.lengths = [len(e.input_ids) for e in train]
        self.plan = StepPlan(self.lengths, config.micro_tokens, config.batch_tokens * self.world, config.seed)
        epochs = config.epochs or (1 if config.minutes is None else None)
        self.total_steps = config.steps or (self.plan.steps_in(epochs) if epochs else None)
        self.identity = identity(model, self.named, train, held_out, config, self.world)
        self.record = None
        if self.folder.writes:
            self.record = RunRecord.of(model, config, train, self.plan.epoch(0), collate)
        self._prepare(loss)  # what is above looks at whole weights
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.warned = False  # that the loss climbs
        # what moves with the steps: besides the weights, the optimizer and the random states, all that `state` keeps
        self.history = History()
        self.splits = 1  # pieces that a planned micro-batch is cut into, since memory ran out
        self.overflows = 0  # in a row
        self.elapsed = 0.0  # seconds spent on steps before this process resumed the run
        self.began = time.monotonic()  # of its steps, had this process taken all of them
        self.evaluation_seconds = 0.0  # seconds that one held-out loss takes

    def _prepare(self, loss: AnswerLoss) -> None:
        """Set loss and optimizer up for autocast and for the processes, each with all of the model or its shard."""
        device = self.accelerator.device
        if self.config.shard:
            shard(loss, device)
            self.named = trained(self.model)  # other parameters than before, under the same names
        loss.check()
        set_activation_checkpointing(self.model, self.config.activation_checkpointing, device)
        optimizer = make_optimizer(self.model, self.named, self.config)
        # `evaluation_mode` is Accelerate's word for autocast without DDP
        self.loss = self.accelerator.prepare_model(loss, evaluation_mode=self.config.shard)
        self.optimizer = self.accelerator.prepare(optimizer)

    def go(self, resume: bool) -> History:
        """All of the run. Its History is written, however it ends."""
        try:
            self._train(resume)
        except TrainingError as error:
            self.history.stopped = f"failed: {error.problem}"
            raise
        finally:
            if self.history.held_out and self.folder.writes:
                self.folder.save_history(self.history)
        return self.history

    def _train(self, resume: bool) -> None:
        found = self.folder.newest_checkpoint() if resume else None
        self._check_all_found(found)
        if found:
            self.load_state(found)
        if resume and self.is_main:
            step, nothing = len(self.history.steps), "" if found else ": there is no checkpoint yet"
            say(f"resuming from step {step}{nothing}")
        if self.record:
            self.folder.save_record(self.record)
        if not found:
            self._begin()
        self.began = time.monotonic() - self.elapsed
        forget_peak(self.accelerator.device)
        self.model.train()
        with progress_bar(self.total_steps, len(self.history.steps), self.is_main) as bar:
            while True:
                step = len(self.history.steps)
                stopped, time_is_up, time_used = self._clock()
                if stopped or time_is_up or step == self.total_steps:
                    break
                progress = max(time_used, self._steps_used())
                self.step(self.plan[step], schedule(progress, self.config.warmup))
                bar.update(1)
                self._after_step(bar)
        if not stopped:
            self._measure()
        self.history.stopped = "interrupted" if stopped else "finished"
        self._save()
        self.model.eval()

    def _check_all_found(self, found: Checkpoint | None) -> None:
        """CheckpointError unless every process goes on from the same step."""
        step = len(found.state["history"]["steps"]) if found else 0
        steps = torch.as_tensor(self.accelerator.gather(torch.tensor([step], device=self.accelerator.device)))
        if int(steps.min()) != int(steps.max()):
            raise CheckpointError(
                f"The processes of this run find checkpoints of different steps: {sorted(set(steps.tolist()))}.",
                "Give an output folder that all of its machines share.",
            )

    def load_state(self, found: Checkpoint) -> None:
        """Go back to where `found` was taken: what follows is then what followed there, on a CPU bit for bit.

        Raises:
            CheckpointError: it is of a run with other settings, examples or weights; nothing was changed.
        """
        stored = found.state
        differing = {k: (stored["identity"].get(k), v) for k, v in self.identity.items()}
        if differing := [_contrast(k, *pair) for k, pair in differing.items() if pair[0] != pair[1]]:
            raise CheckpointError(
                f"The checkpoint in {found.folder} is of another run, with other {' and '.join(differing)}.",
                "Resume with the settings and examples it was started with, or choose another output folder.",
            )
        with torch.no_grad():
            for name, p in self.named:
                p.copy_(checkpoint.share(found.tensors[f"model.{name}"], p))
        if self.subspace:
            self.subspace.write()
        checkpoint.restore_optimizer(self.optimizer.optimizer, self.named, found.tensors)
        checkpoint.restore_random(found.tensors)
        self.history = History.from_json(stored["history"])
        steps, every = len(self.history.steps), self.config.evaluate_every
        if self.rank:  # the random state kept is that of the main process
            torch.manual_seed(self.config.seed + self.rank + self.world * steps)
        if self.accelerator.scaler and stored["scaler"]:
            self.accelerator.scaler.load_state_dict(stored["scaler"])
        if self.history.stopped == "finished" and not (every and steps % every == 0):
            # The last held-out loss was measured because the run ended there. It goes on now, and an uninterrupted run
            # would not have measured it.
            self.history.held_out.pop()
        self.history.stopped = "running"
        self.splits, self.overflows = stored["splits"], stored["overflows"]
        if stored.get("cores") == os.cpu_count():  # the same machine, where the last bits depend on the threads
            torch.set_num_threads(stored["threads"])
        self.elapsed, self.evaluation_seconds = stored["elapsed"], stored["evaluation seconds"]

    def _begin(self) -> None:
        """Measure the held-out loss before the first step, and how long that takes."""
        began = time.monotonic()
        self._measure()
        self.evaluation_seconds = time.monotonic() - began
        loss = self.history.held_out[0][1]
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} at step 0, before any training.",
                "Load the model in float32; if that does not help, its weights are damaged.",
            )

    def _measure(self) -> None:
        """The held-out loss after the steps so far, unless it was measured already."""
        step = len(self.history.steps)
        if not self.history.held_out or self.history.held_out[-1][0] != step:
            loss = self.loss if self.config.shard else None
            found = answer_loss(self.model, self.held_out, accelerator=self.accelerator, loss=loss)
            self.history.held_out.append((step, found.loss))

    def _clock(self) -> tuple[bool, bool, float]:
        """Whether the run was stopped, whether its time is up, and what share of its time is used.

        The largest of each over all processes: their stop buttons and clocks differ, what they do next must not.
        """
        stopped, time_is_up, used = self.stop.is_set(), False, 0.0
        if self.config.minutes:
            elapsed, limit = (
                time.monotonic() - self.began,
                seconds_for_steps(self.config.minutes, self.evaluation_seconds),
            )
            latest = [s.seconds for s in self.history.steps[-20:]]
            time_is_up = (
                bool(latest) and elapsed + 1.5 * statistics.median(latest) > limit
            )  # a step may take half as long again
            used = elapsed / limit
        if self.world == 1:
            return stopped, time_is_up, used
        mine = torch.tensor([[stopped, time_is_up, used]], dtype=torch.float32, device=self.accelerator.device)
        most = torch.as_tensor(self.accelerator.gather(mine)).amax(0)  # (processes, 3) -> (3,)
        return bool(most[0]), bool(most[1]), most[2].item()

    def _steps_used(self) -> float:
        """What share of its steps the run has taken, the middle of the next one counting; 0 where time alone decides.

        Steps that the loss scaler skipped are not counted, so they move no schedule.
        """
        taken = sum(not s.skipped for s in self.history.steps)
        return (taken + 0.5) / self.total_steps if self.total_steps else 0.0

    def step(self, micro: list[list[int]], factor: float) -> None:
        """One optimizer step on the micro-batches `micro`, at `factor` times the peak learning rates."""
        began, step = time.monotonic(), len(self.history.steps) + 1
        label_tokens = sum(self.train[i].label_tokens for rows in micro for i in rows)
        tokens = sum(self.lengths[i] for rows in micro for i in rows)
        for group, rate in zip(self.optimizer.param_groups, self.rates):
            group["lr"] = rate * factor
        failures = 0
        while (loss := self._gradients(micro, label_tokens)) is None:
            failures += 1
            self._split(micro, step, failures)
        scaled = self.accelerator.scaler is not None
        if not math.isfinite(loss):
            fp16 = " In float16 this can be an overflow: load the model in float32 instead." if scaled else ""
            raise TrainingError(
                f"The loss is {loss} at step {step}.",
                f"Lower the learning rate and start again; the weights are those before this step.{fp16}",
            )
        parameters = [p for _, p in self.named]
        norm = torch.as_tensor(self.accelerator.clip_grad_norm_(parameters, self.config.clip or math.inf))
        norm = gathered(norm).item()
        self.overflows = 0 if math.isfinite(norm) else self.overflows + 1
        if self.overflows > (MOST_OVERFLOWS if scaled else 0):
            times = f", {self.overflows} times in a row" if self.overflows > 1 else ""
            fp16 = ", or load the model in float32" if scaled else ""
            raise TrainingError(
                f"The gradient is not finite at step {step}{times}.",
                f"Lower the learning rate{fp16}; the weights are those before this step.",
            )
        self.optimizer.step()
        if self.subspace:
            self.subspace.write()
        skipped = self.accelerator.optimizer_step_was_skipped
        self.optimizer.zero_grad()
        peak, seconds = peak_bytes(self.accelerator.device), time.monotonic() - began
        self.history.steps.append(
            Step(step, loss, self.rates[0] * factor, norm, tokens, label_tokens, seconds, peak, skipped)
        )

    def _gradients(self, micro: list[list[int]], label_tokens: int) -> float | None:
        """Add up the gradients of one step; the mean loss over its answer tokens, or None where memory ran out."""
        self.model.zero_grad()  # those of an attempt that failed, or of a run before this one
        mine = share_of_rank(self._pieces(micro), self.rank, self.world)
        total = torch.zeros((), device=self.accelerator.device)
        try:
            for i, rows in enumerate(mine):
                batch = self._batch(rows).to(self.accelerator.device)
                last = i == len(mine) - 1
                with contextlib.nullcontext() if last else self.accelerator.no_sync(self.loss):
                    total += gradient_step(self.loss, batch, self.world / label_tokens, self.accelerator.backward)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            if self.world > 1:  # the other processes wait within this step: the launcher ends them
                raise self._too_large(micro, len(self.history.steps) + 1, 1) from error
            return None  # the caller tries again outside `except`, when the traceback no longer holds the tensors
        if self.subspace:
            self.subspace.pull()
        return torch.as_tensor(self.accelerator.reduce(total, "sum")).item() / label_tokens

    def _pieces(self, micro: list[list[int]]) -> list[list[int]]:
        return [piece for rows in micro for piece in split_micro_batch(rows, self.splits)]

    def _batch(self, rows: list[int]) -> Batch:
        if rows:
            return self.collate([self.train[i] for i in rows])
        return self.collate([self.train[0]]).without_labels()

    def _split(self, micro: list[list[int]], step: int, failures: int) -> None:
        """Make the micro-batches half as large; after the last of FAILURES in a row, end the run with advice."""
        make_room()
        if failures == FAILURES or max(map(len, self._pieces(micro))) == 1:
            error = self._too_large(micro, step, failures)
            self._save()  # of the step before, to go on from with smaller micro-batches
            raise error
        self.splits *= 2
        say(f"out of memory: micro-batches are now split in {self.splits}, the effective batch stays")

    def _too_large(self, micro: list[list[int]], step: int, failures: int) -> TrainingError:
        lengths = [[self.lengths[i] for i in piece] for piece in self._pieces(micro)]
        return too_large(self.model, step, lengths, failures)

    def _after_step(self, bar) -> None:
        """Measure, report and save, each where it is due."""
        step, every = len(self.history.steps), self.config.log_every
        if self.config.evaluate_every and step % self.config.evaluate_every == 0:
            self._measure()
            if every and self.is_main:
                say(f"step {step}  held-out loss {self.history.held_out[-1][1]:.4f}", bar)
        if every and self.is_main:
            self._report(step, bar)
            if self.on_log and step % every == 0:
                self.on_log(self.history)
        if step % self.config.checkpoint_every == 0:
            self._save()

    def _report(self, step: int, bar) -> None:
        """Say where the run is: after its first step, then every `log_every` steps; once, that its loss climbs."""
        if step == 1 or step % self.config.log_every == 0:
            say(progress_line(self.history, self.total_steps), bar)
        if not self.warned and self.history.climbed():
            self.warned = True
            say(f"step {step}  the loss is well above where it began: stop, and try a third of the learning rate", bar)

    def _save(self) -> None:
        """Write a checkpoint. Weights that are not finite reach none."""
        step = len(self.history.steps)
        if not all(bool(gathered(p.isfinite().all())) for _, p in self.named):
            raise TrainingError(
                f"The trained weights are not finite after step {step}.",
                "Lower the learning rate and start again; the last checkpoint is of an earlier step.",
            )
        if self.folder.writes or (self.folder.exists and self.config.shard):
            state = self.state()  # of shards, gathered: all processes take part
            if self.folder.writes:
                self.folder.save_checkpoint(step, *state)

    def state(self) -> tuple[dict[str, Tensor], dict]:
        """Tensors and JSON from which `load_state` lets another process go on as this one would have."""
        tensors = {f"model.{name}": p for name, p in self.named}
        tensors |= checkpoint.optimizer_tensors(self.optimizer.optimizer, self.named)
        tensors = {name: gathered(tensor) for name, tensor in tensors.items()} | checkpoint.random_tensors()
        return tensors, {
            "identity": self.identity,
            "history": self.history.to_json(),
            "elapsed": time.monotonic() - self.began,
            "evaluation seconds": self.evaluation_seconds,
            "splits": self.splits,
            "overflows": self.overflows,
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
        }


def seconds_for_steps(minutes: float, evaluation: float) -> float:
    """How many seconds the steps of a run of `minutes` may take together, if one held-out loss takes `evaluation`.

    The held-out loss is measured before the first step and after the last. Of every minute 3 seconds are kept for what
    else a run does, such as setting up and writing checkpoints.
    """
    return max(1.0, 57 * minutes - 2 * evaluation)


def _contrast(name: str, there: object, here: object) -> str:
    """What differs between two runs: its name, with both values where these are numbers, and no digests."""
    told = all(value is None or isinstance(value, (int, float)) for value in (there, here))
    return f"{name} ({there}, now {here})" if told else name
