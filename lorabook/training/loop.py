"""One training loop for everything: whatever parameter of the model requires a gradient is trained, or its subspace.

Accelerate carries the device, autocast, the loss scaler and the process group. The rest is here: batches by token
budget, a loss divided by the answer tokens of the whole step, a schedule that only real steps move, exact resume, a
stop button that loses nothing, and a smaller micro-batch where memory runs out.
"""

import contextlib
import math
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from lorabook.atomic import only_writer
from lorabook.console import say
from lorabook.data.batches import Batch, StepPlan, check_rows, collate, share_of_rank, split_micro_batch
from lorabook.data.examples import Example
from lorabook.errors import CheckpointError, SettingError, TrainingError
from lorabook.kernels import faster
from lorabook.memory.advice import make_room, out_of_memory, too_large
from lorabook.step.config import TrainConfig, schedule
from lorabook.step.gradients import gradient_step, make_optimizer, set_activation_checkpointing, trained
from lorabook.step.loss import AnswerLoss
from lorabook.subspace.training import subspace_of
from lorabook.training import checkpoint, run_state
from lorabook.training.evaluate import answer_loss
from lorabook.training.history import History, Step
from lorabook.training.identity import identity
from lorabook.training.processes import accelerator_for
from lorabook.training.progress import peak_bytes, progress_bar, progress_line
from lorabook.training.record import RunRecord
from lorabook.training.stop_button import stop_button

FAILURES = 3  # to find memory for one step, each with micro-batches half as large, after which the run ends
MOST_SKIPS = 20  # overflows in a row after which the loss scaler will not recover


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
    collate: Callable[[Sequence[Example]], Batch] = collate,
) -> History:
    """Train whatever in `model` requires a gradient on the answers of `train`; with a subspace, in the subspace.

    The held-out loss is measured before the first step, every `evaluate_every` steps, and after the last, by the same
    code. Ctrl-C, SIGTERM, or the stop button of a notebook finishes the step at hand, saves, and returns. The global
    random state is left as it was.

    Args:
        output: folder for checkpoints, `run.json` and `history.json`, that of a run that fails too; None keeps nothing.
        resume: go on from the newest whole checkpoint in `output` or `copy_to`, if there is one.
        copy_to: a second folder that gets a copy of every checkpoint, one that outlives the machine: a mounted drive.
        on_log: called with the History every `log_every` steps.
        collate: makes the Batch of some examples; one of your own for data of your own shape.

    Raises:
        SettingError: nothing to train, a merged model, trained weights that are not fp32; another process is writing
            to `output`.
        DataError: a row that is longer than the model's positions, or holds a token that the model has not.
        TrainingError: the loss is not finite; a single row does not fit into memory, or three micro-batches in a row,
            each half as large as the one before. The weights are those before the step.
        CheckpointError: the checkpoint belongs to another run, or `output` cannot be written when the run begins.
            Later a checkpoint that cannot be written is a warning, and the run goes on.
    """
    if not train or not held_out:
        raise SettingError("There are no rows to train on or none held out.", "Give more rows.")
    if copy_to and not output:
        raise SettingError("There is a folder for copies and none for checkpoints.", "Give an output folder too.")
    check_rows(model, [*train, *held_out])
    cuda = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with contextlib.ExitStack() as running:
        running.enter_context(torch.random.fork_rng(devices=cuda))
        stop = running.enter_context(stop_button())
        running.enter_context(faster(model))
        run = _Run(model, train, held_out, config, output, copy_to, on_log, collate, stop)
        if output and run.accelerator.is_main_process:
            running.enter_context(only_writer(output))
        try:
            return run.go(resume)
        except TrainingError as error:
            run.history.stopped = f"failed: {error.problem}"
            raise
        finally:
            if output and run.history.held_out and run.accelerator.is_main_process:
                try:
                    run.history.save(Path(output) / "history.json")
                except OSError as error:  # such as a full disk: the run itself is not lost by it
                    warnings.warn(f"history.json could not be written to {output} ({error}).", stacklevel=2)


class _Run:
    """The state of one `finetune` call."""

    def __init__(self, model, train, held_out, config: TrainConfig, output, copy_to, on_log, collate, stop):
        self.model, self.train, self.held_out, self.config = model, train, held_out, config
        self.output, self.copy_to = Path(output) / "checkpoints" if output else None, copy_to
        self.on_log, self.collate, self.stop = on_log, collate, stop
        self.named, self.subspace = trained(model), subspace_of(model)
        device = next(model.parameters()).device
        self.accelerator = accelerator_for(device)
        self.world, self.rank = self.accelerator.num_processes, self.accelerator.process_index
        torch.manual_seed(config.seed + self.rank)
        loss = AnswerLoss(model)
        loss.check()
        set_activation_checkpointing(model, config.activation_checkpointing, device)
        self.loss, self.optimizer = self.accelerator.prepare(loss, make_optimizer(model, self.named, config))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.lengths = [len(e.input_ids) for e in train]
        self.plan = StepPlan(self.lengths, config.micro_tokens, config.batch_tokens * self.world, config.seed)
        epochs = config.epochs or (1 if config.minutes is None else None)
        self.total = config.steps or (self.plan.steps_in(epochs) if epochs else None)
        self.identity = identity(model, self.named, train, held_out, config, self.world)
        self.history, self.splits, self.skips = History(), 1, 0
        self.elapsed, self.evaluation = 0.0, 0.0  # seconds spent on steps so far, and on one held-out loss

    def go(self, resume: bool) -> History:
        start = time.monotonic()
        if not (resume and self._restore()):
            self._measure()
            self.evaluation = time.monotonic() - start
            if not math.isfinite(self.history.held_out[0][1]):
                raise TrainingError(
                    f"The loss is {self.history.held_out[0][1]} at step 0, before any training.",
                    "Load the model in float32; if that does not help, its weights are damaged.",
                )
        if self.output and self.accelerator.is_main_process:
            record = RunRecord.of(self.model, self.config, self.train, self.plan.epoch(0), self._batch)
            try:
                record.save(self.output.parent)
            except OSError as error:
                raise CheckpointError(
                    f"{self.output.parent} cannot be written ({error}).", "Choose another output folder, or make space."
                ) from error
        # The closing evaluation will take about as long as the opening one; 3 seconds of each minute are for the rest.
        limit = self.config.minutes and max(1.0, self.config.minutes * 57 - 2 * self.evaluation)
        self.began = time.monotonic() - self.elapsed
        self.model.train()
        bar = progress_bar(self.total, len(self.history.steps), self.accelerator.is_main_process)
        with bar:
            while True:
                step = len(self.history.steps)
                elapsed = time.monotonic() - self.began
                usual = statistics.median([s.seconds for s in self.history.steps[-20:]] or [0.0])
                over = limit is not None and step > 0 and elapsed + 1.5 * usual > limit
                stopped, over, timed = self._largest(self.stop.is_set(), over, elapsed / limit if limit else 0.0)
                if stopped or over or (self.total and step >= self.total):
                    break
                taken = step - sum(s.skipped for s in self.history.steps)  # a skipped step moves no schedule
                done = max((taken + 0.5) / self.total if self.total else 0.0, timed)
                self._step(self.plan[step], schedule(done, self.config.warmup))
                bar.update(1)
                self._after_step(bar)
        if not stopped:
            self._measure()
        self.history.stopped = "interrupted" if stopped else "finished"
        self._save()
        self.model.eval()
        return self.history

    def _largest(self, *values: float) -> list[float]:
        """The largest of each value over all processes: clocks and stop buttons differ, the decision must not."""
        if self.world == 1:
            return list(values)
        mine = torch.tensor([values], dtype=torch.float32, device=self.accelerator.device)
        return torch.as_tensor(self.accelerator.gather(mine)).amax(0).tolist()

    def _measure(self) -> None:
        """The held-out loss of the step at hand, unless it was measured already."""
        step = len(self.history.steps)
        if not self.history.held_out or self.history.held_out[-1][0] != step:
            self.history.held_out.append((step, answer_loss(self.model, self.held_out).loss))

    def _after_step(self, bar) -> None:
        step, every = len(self.history.steps), self.config.log_every
        if self.config.evaluate_every and step % self.config.evaluate_every == 0:
            self._measure()
            if self.accelerator.is_main_process:
                say(f"step {step}  held-out loss {self.history.held_out[-1][1]:.4f}", bar)
        if every and step % every == 0 and self.accelerator.is_main_process:
            say(progress_line(self.history, self.total), bar)
            if self.on_log:
                self.on_log(self.history)
        if step % self.config.checkpoint_every == 0:
            self._save()

    def _step(self, micro: list[list[int]], factor: float) -> None:
        """One optimizer step over the micro-batches `micro`, at `factor` times the peak learning rates."""
        began, step = time.monotonic(), len(self.history.steps) + 1
        labels = sum(self.train[i].label_tokens for rows in micro for i in rows)
        tokens = sum(self.lengths[i] for rows in micro for i in rows)
        for group, rate in zip(self.optimizer.param_groups, self.rates):
            group["lr"] = rate * factor
        failures = 0
        while (loss := self._gradients(micro, labels)) is None:
            failures += 1
            self._halve(micro, step, failures)
        if not math.isfinite(loss):
            fp16 = " In float16 this can be an overflow: load the model in float32 instead." if self._scaled else ""
            raise TrainingError(
                f"The loss is {loss} at step {step}.",
                f"Lower the learning rate and start again; the weights are those before this step.{fp16}",
            )
        parameters = [p for _, p in self.named]
        norm = torch.as_tensor(self.accelerator.clip_grad_norm_(parameters, self.config.clip or math.inf)).item()
        self.skips = 0 if math.isfinite(norm) else self.skips + 1
        if self.skips > (MOST_SKIPS if self._scaled else 0):
            raise TrainingError(
                f"The gradient is not finite at step {step}, {self.skips} time(s) in a row.",
                "Lower the learning rate, or load the model in float32; the weights are those before this step.",
            )
        self.optimizer.step()
        if self.subspace:
            self.subspace.write()
        skipped = self.accelerator.optimizer_step_was_skipped
        self.optimizer.zero_grad()
        peak, seconds = peak_bytes(self.accelerator.device), time.monotonic() - began
        self.history.steps.append(
            Step(step, loss, self.rates[0] * factor, norm, tokens, labels, seconds, peak, skipped)
        )

    @property
    def _scaled(self) -> bool:
        return self.accelerator.scaler is not None

    def _gradients(self, micro: list[list[int]], labels: int) -> float | None:
        """Add up the gradients of one step; the mean loss over its answer tokens, or None where memory ran out."""
        self.model.zero_grad()  # those of an attempt that failed, or of a run before this one
        pieces = [part for rows in micro for part in split_micro_batch(rows, self.splits)]
        mine = share_of_rank(pieces, self.rank, self.world)
        total = torch.zeros((), device=self.accelerator.device)
        try:
            for i, rows in enumerate(mine):
                batch = self._batch(rows).to(self.accelerator.device)
                last = i == len(mine) - 1
                with contextlib.nullcontext() if last else self.accelerator.no_sync(self.loss):
                    total += gradient_step(self.loss, batch, self.world / labels, self.accelerator.backward)
        except (RuntimeError, MemoryError) as error:
            if self.world > 1 or not out_of_memory(error):
                raise
            return None  # the caller tries again outside `except`, when the traceback no longer holds the tensors
        if self.subspace:
            self.subspace.pull()
        return torch.as_tensor(self.accelerator.reduce(total, "sum")).item() / labels

    def _batch(self, rows: list[int]) -> Batch:
        if rows:
            return self.collate([self.train[i] for i in rows])
        filler = self.collate([self.train[0]])  # a process without rows of its own: a forward pass that counts no label
        return Batch(filler.input_ids, filler.label_positions[:0], filler.labels[:0])

    def _halve(self, micro: list[list[int]], step: int, failures: int) -> None:
        """Make the micro-batches half as large; after the last of FAILURES in a row, end the run with advice."""
        make_room()
        pieces = [[self.lengths[i] for i in part] for rows in micro for part in split_micro_batch(rows, self.splits)]
        if failures == FAILURES or max(map(len, pieces)) == 1:
            error = too_large(self.model, step, pieces, failures)
            self._save()  # of the step before, to go on from with smaller micro-batches
            raise error
        self.splits *= 2
        say(f"out of memory: micro-batches are now split in {self.splits}, the effective batch stays")

    def _save(self) -> None:
        """Write a checkpoint. One that cannot be written is said so, and the run goes on: it is still in memory."""
        if not all(bool(p.isfinite().all()) for _, p in self.named):
            raise TrainingError(
                f"The trained weights are not finite after step {len(self.history.steps)}.",
                "Lower the learning rate and start again; the last checkpoint is of an earlier step.",
            )
        if self.output is None or not self.accelerator.is_main_process:
            return
        self.elapsed = time.monotonic() - self.began
        try:
            place = checkpoint.write(self.output, len(self.history.steps), *run_state.taken(self))
            if self.copy_to:
                checkpoint.copy(place, self.copy_to)
        except CheckpointError as error:
            warnings.warn(f"{error} The run goes on without it.", stacklevel=2)

    def _restore(self) -> bool:
        """Go back to the newest checkpoint; False where there is none."""
        folders = [folder for folder in (self.output, self.copy_to) if folder]
        found = checkpoint.latest(*folders) if folders else None
        if found is not None:
            run_state.put_back(self, found)
        return found is not None
