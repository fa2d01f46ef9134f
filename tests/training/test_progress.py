"""How far a run is: the bar that it draws, its memory so far as the system counts it."""

import io
import resource
import sys
from pathlib import Path

import pytest
import torch
import tqdm

from lorabook.training import loop
from lorabook.training.answers import answer, answers
from lorabook.training.loop import finetune
from lorabook.training.progress import forget_peak, measuring, peak_bytes, progress_bar
from tests.kit.families import gpt_bigcode
from tests.kit.runs import HELD_OUT, TRAIN, config, lora_model
from tests.kit.text import TEXT, pair, tokenizer


class Bar(io.StringIO):
    """Stands in for the bar: counts what it is told."""

    def __init__(self, total, initial, main):
        super().__init__()
        self.total, self.shown, self.main = total, initial, main

    def update(self, steps):
        self.shown += steps

    def write(self, line, file=None):
        print(line, file=file)


def test_the_bar_counts_every_step_and_begins_where_a_resumed_run_does(monkeypatch, tmp_path, capsys):
    bars = []
    monkeypatch.setattr(loop, "progress_bar", lambda *about: bars.append(Bar(*about)) or bars[-1])
    finetune(lora_model(), TRAIN, HELD_OUT, config(steps=2, log_every=2), output=tmp_path)
    finetune(lora_model(), TRAIN, HELD_OUT, config(steps=2, log_every=2), output=tmp_path, resume=True)
    first, again = bars
    assert (first.total, first.shown, first.main) == (2, 2, True)
    assert (again.total, again.shown) == (2, 2), "nothing was left to do"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["step 1/2", "step 2/2", "resuming from step 2"]


@pytest.mark.seconds
def test_a_loss_that_climbs_is_told_once_while_it_does(capsys):
    finetune(gpt_bigcode(), TRAIN, HELD_OUT, config(lr=1.0, clip=1.0, steps=16, log_every=8))
    lines = capsys.readouterr().out.splitlines()
    (told,) = [number for number, line in enumerate(lines) if "above where it began" in line]
    assert told < next(number for number, line in enumerate(lines) if line.startswith("step 16/16")), "while it climbs"
    finetune(gpt_bigcode(), TRAIN, HELD_OUT, config(clip=1.0, steps=16, log_every=8))
    finetune(gpt_bigcode(), TRAIN, HELD_OUT, config(lr=1.0, clip=1.0, steps=16))  # a run that is to print nothing
    assert "above where it began" not in capsys.readouterr().out


def test_a_bar_below_a_cell_is_text_that_ends_at_the_end(monkeypatch, capsys):
    output = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stdout", output)
    with progress_bar(3, 1, True) as bar:
        bar.update(2)
    last = output.getvalue().split("\r")[-1]
    assert "100%|" in last and "3/3" in last
    assert capsys.readouterr().err == "", "what goes there is red in a notebook"
    assert progress_bar(3, 0, False).disable, "one process of several draws"


def test_nothing_is_drawn_where_nobody_looks(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert progress_bar(3, 0, True).disable
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = progress_bar(3, 1, True)
    assert not bar.disable and (bar.total, bar.n) == (3, 1)
    assert progress_bar(3, 0, False).disable, "a second process would draw over the first"


def test_a_terminal_shows_how_far_the_held_out_loss_is_and_nobody_else_sees_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert list(measuring([[0], [1]])) == [[0], [1]] and not sys.stderr.getvalue()
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = measuring([[0], [1]])
    assert not bar.disable and not bar.leave and list(bar) == [[0], [1]]


def test_a_terminal_shows_how_many_tokens_are_written_and_nobody_else_sees_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    model, asked = gpt_bigcode(vocab_size=300, n_positions=64), [pair(question) for question in TEXT]
    answers(model, tokenizer(), asked, max_new_tokens=5)
    assert not sys.stderr.getvalue()
    bars = []
    monkeypatch.setattr(tqdm, "tqdm", lambda **about: bars.append((about, tqdm.std.tqdm(disable=True))) or bars[-1][1])
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    answer(model, tokenizer(), asked[0], max_new_tokens=5, on_text=lambda text: None)
    assert not bars  # the text shows it
    counted = []
    monkeypatch.setattr(tqdm.std.tqdm, "update", lambda self, n=1: counted.append(n))
    answers(model, tokenizer(), asked, max_new_tokens=5)
    ((about, _),) = bars
    assert about["total"] == 5 * len(asked) == sum(counted) and not about["leave"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the oracle is Linux's own account")
def test_the_peak_of_a_process_is_what_the_system_says():
    def system() -> int:
        (line,) = (s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith("VmHWM"))
        return 1024 * int(line.split()[1])

    assert peak_bytes(torch.device("cpu")) == pytest.approx(system(), rel=0.01)  # it counts in pages, a batch at a time


def test_a_run_begins_its_peak_anew_where_a_gpu_counts_it(monkeypatch):
    reset = []
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset.append)
    forget_peak(torch.device("cpu"))
    forget_peak(torch.device("cuda"))
    assert reset == [torch.device("cuda")]
    monkeypatch.setattr(loop, "forget_peak", reset.append)
    finetune(gpt_bigcode(), TRAIN, HELD_OUT, config(steps=1))
    assert reset == [torch.device("cuda"), torch.device("cpu")]


def test_where_the_system_says_nothing_the_peak_is_0(monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert peak_bytes(torch.device("cpu")) == 0


def test_macos_counts_in_bytes(monkeypatch):
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr(sys, "platform", "darwin")
    assert kilobytes <= peak_bytes(torch.device("cpu")) < 2 * kilobytes


def test_a_run_that_logs_nothing_prints_no_held_out_losses(capsys):
    history = finetune(lora_model(), TRAIN, HELD_OUT, config(steps=4, log_every=0, evaluate_every=2))
    assert [step for step, _ in history.held_out] == [0, 2, 4] and capsys.readouterr().out == ""
    finetune(lora_model(), TRAIN, HELD_OUT, config(steps=4, log_every=4, evaluate_every=2))
    assert capsys.readouterr().out.count("held-out loss") == 2
