"""Signals that end a run early: the step is finished, the run saved, the old handlers come back; and imports."""

import signal
import subprocess
import sys
import threading

import pytest

from lorabook.interrupts import held_back, stop_button
from lorabook.training.history import History
from lorabook.training.loop import finetune
from tests.kit.runs import HELD_OUT, TRAIN, config, lora_model


@pytest.fixture
def handler():
    """A handler of both signals from before the run, which must not be called, and must be there again after it."""

    def mine(signum, frame):
        raise AssertionError("the handler from before the run was called")

    previous = {number: signal.signal(number, mine) for number in (signal.SIGINT, signal.SIGTERM)}
    yield mine
    assert {signal.getsignal(number) for number in previous} == {mine}
    for number, old in previous.items():
        signal.signal(number, old)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_either_signal_finishes_the_step_saves_and_returns(number, handler, tmp_path):
    """SIGTERM is how a batch system or a container ends a job."""

    def press(history: History) -> None:
        if len(history.steps) == 2:
            signal.raise_signal(number)

    model = lora_model()
    history = finetune(model, TRAIN, HELD_OUT, config(log_every=1), output=tmp_path, on_log=press)
    assert (len(history.steps), history.stopped) == (2, "interrupted") and not model.training
    assert (tmp_path / "checkpoints" / "step-000002").is_dir()


def test_a_run_that_fails_puts_the_handlers_back_too(handler):
    def fail(history: History) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        finetune(lora_model(), TRAIN, HELD_OUT, config(log_every=1), on_log=fail)


def test_a_second_press_interrupts_at_once():
    previous = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stop_button() as pressed:
        signal.raise_signal(signal.SIGINT)
        assert pressed.is_set()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is previous


def test_training_works_outside_the_main_thread():
    histories = []
    thread = threading.Thread(target=lambda: histories.append(finetune(lora_model(), TRAIN, HELD_OUT, config())))
    thread.start()
    thread.join()
    assert len(histories[0].steps) == 4


def test_what_is_held_back_comes_after_the_block():
    previous, done = signal.getsignal(signal.SIGINT), False
    with pytest.raises(KeyboardInterrupt), held_back():
        signal.raise_signal(signal.SIGINT)
        done = True
    assert done and signal.getsignal(signal.SIGINT) is previous
    with pytest.raises(ZeroDivisionError), held_back():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is previous
    thread = threading.Thread(target=lambda: held_back().__enter__())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is previous


STOPPED = """
import signal, sys
from lorabook.models import load_model

class Press:  # Ctrl-C in the midst of the import of the model's module
    def find_spec(self, name, path=None, target=None):
        if name.endswith("gpt_bigcode.modeling_gpt_bigcode"):
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Press())
try:
    load_model("pocket", device="cpu")
except KeyboardInterrupt:
    print("stopped")
whole = "transformers.models.gpt_bigcode.modeling_gpt_bigcode" in sys.modules
print(whole, type(load_model("pocket", device="cpu").model).__name__)
"""


@pytest.mark.slow
def test_a_model_whose_loading_was_stopped_can_be_loaded_again():
    ran = subprocess.run([sys.executable, "-c", STOPPED], capture_output=True, text=True)
    assert ran.stdout.split() == ["stopped", "True", "GPTBigCodeForCausalLM"], ran.stderr
