"""What hands do: calls that make no sense, cells run twice, the stop button. More of it is in tests/faults."""

from pathlib import Path

import nbformat
import pytest

from lorabook.lora import LoRAConfig, apply_lora
from lorabook.merging import merge, remove, unmerge
from lorabook.peft_format import adapter_file
from lorabook.step.optimizer import trained
from tests.faults import hands
from tests.kit.adapters import adapted
from tests.kit.families import gpt_bigcode, logits

NEEDLESS = {
    "merged and unmerged twice over": (merge, unmerge, merge, unmerge),
    "trained after unmerging": (merge, unmerge, trained),
    "saved after unmerging": (merge, unmerge),
}


@pytest.mark.parametrize("call", hands.CALLS)
def test_a_call_that_makes_no_sense_is_refused_and_changes_nothing(call, tmp_path):
    assert hands.refused(*hands.CALLS[call], tmp_path) is None


def test_a_call_that_goes_through_or_changes_the_model_is_told(tmp_path):
    make = gpt_bigcode
    assert hands.refused(make, lambda model, folder: None, tmp_path) == "went through in silence"
    assert hands.refused(make, lambda model, folder: model.nothing, tmp_path).startswith("AttributeError")

    def half_done(model, folder):
        model.train()
        remove(model)

    assert hands.refused(make, half_done, tmp_path) == "refused, but the model has changed"


@pytest.mark.parametrize("steps", NEEDLESS.values(), ids=NEEDLESS.keys())
def test_needless_steps_leave_the_same_model(steps, tmp_path):
    model = adapted(gpt_bigcode(), hands.CONFIG)
    before = logits(model)
    for step in steps:
        step(model)
    assert (logits(model) == before).all()
    adapter_file.save(model, tmp_path)
    again = gpt_bigcode()
    adapter_file.load(again, tmp_path)
    assert (logits(again) == before).all()


def test_removed_and_applied_again_is_a_fresh_start():
    model = adapted(gpt_bigcode(), hands.CONFIG)
    remove(model)
    assert (logits(model) == logits(gpt_bigcode())).all()
    apply_lora(model, LoRAConfig(r=4, targets=("c_attn",)))
    assert (logits(model) == logits(gpt_bigcode())).all()


def notebook(path: Path, *cells: str) -> Path:
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
    nbformat.write(made, path)
    return path


@pytest.mark.slow
def test_a_cell_that_is_not_safe_to_run_twice_is_found(tmp_path):
    cells = (
        "import time",
        "x = 1",
        "x = x + 1\nx",  # shows 2, then 3
        "print(f'{time.perf_counter()} s')",  # a duration: forgiven
        "# NBVAL_IGNORE_OUTPUT\nprint(time.time())",
        "y = [0]\ny.append(x)\nassert len(y) == 2",
        "del y",
    )
    played = hands.twice(notebook(tmp_path / "toy.ipynb", *cells), tmp_path / "run")
    first, second = played.faults
    assert first == "toy, code cell 3 prints something else the second time"
    assert second.startswith("toy, code cell 7: NameError")
    assert len(played.seconds) == len(cells)


@pytest.mark.slow
def test_an_interrupted_cell_is_run_again_and_what_it_left_half_done_is_found(tmp_path):
    body = "for i in range(40):\n    done.append(i)\n    time.sleep(0.05)\nassert len(done) == 40"
    slow = f"import time\ndone = []\n{body}"
    safe = notebook(tmp_path / "safe.ipynb", "0", slow, slow, slow, "assert len(done) == 40")
    played = hands.interrupted(safe, [0.0, 2.0, 2.0, 2.0, 0.0], 0, tmp_path / "run")
    assert (played.faults, played.met, played.cells) == ([], 3, 5)
    unsafe = notebook(tmp_path / "unsafe.ipynb", "import time\ndone = []", body)
    played = hands.interrupted(unsafe, [0.0, 2.0], 0, tmp_path / "run")
    (fault,) = played.faults
    assert fault.startswith("unsafe, code cell 2, interrupted before: 2: AssertionError") and played.met == 1
