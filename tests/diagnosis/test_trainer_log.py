"""The log of Trainer and TRL: each finding on a folder that the library wrote, sound folders, and no pickle opened."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lorabook.diagnosis.findings import CHECKS, find_faults, report
from lorabook.diagnosis.read_run import read_run
from lorabook.diagnosis.trainer_log import STATE, read_log
from lorabook.errors import CheckpointError
from tests.diagnosis import test_adapter_findings, test_findings
from tests.kit.broken_runs.faults import FAULTS
from tests.kit.foreign import TRAIN, base_folder, base_model, peft_model, tokenizer_of, train, train_by_trl

pytestmark = pytest.mark.filterwarnings("ignore")
PICKLES = ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return base_folder(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def sound(base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trainer")
    trainer = train(folder, peft_model(base_model(base)), tokenizer=tokenizer_of(base), save_steps=4)
    (folder / "kept.json").write_text(json.dumps(trainer.state.log_history))
    return folder


@pytest.fixture(scope="module")
def by_trl(base, tmp_path_factory) -> Path:
    pytest.importorskip("trl")
    folder = tmp_path_factory.mktemp("trl")
    train_by_trl(folder, base)
    return folder


def found(folder: Path) -> list[str]:
    return [finding.name for finding in find_faults(read_run(folder))]


def overflowing(folder: Path, base: Path) -> None:
    """Every third gradient is finite, but its norm in fp32 is not."""
    model, calls = peft_model(base_model(base)), []
    B = next(p for name, p in model.named_parameters() if ".lora_B." in name)
    B.register_hook(lambda g: calls.append(0) or (torch.full_like(g, 1e30) if len(calls) % 3 == 0 else g))
    train(folder, model)


def beyond_range(folder: Path, base: Path) -> None:
    model = base_model(base)
    model.lm_head.weight.data.mul_(1e38)
    train(folder, peft_model(model))


def cut_off(folder: Path, base: Path) -> None:
    model = base_model(base)
    FAULTS["gradient cut off"].wrong(model.model.layers[0])
    train(folder, peft_model(model))


def too_fast(folder: Path, base: Path) -> None:
    """On a base that knows these rows already."""
    model = base_model(base)
    train(folder / "before", model, save=False, save_strategy="no", max_steps=60)
    train(folder, peft_model(model), learning_rate=1.0)


def padded(folder: Path, base: Path) -> None:
    train(folder, peft_model(base_model(base)), tokenizer=tokenizer_of(base, pad_token="<|endoftext|>"))


def run(**options) -> Callable[[Path, Path], None]:
    return lambda folder, base: train(folder, peft_model(base_model(base)), **options) and None


SICK = {
    "all labels masked": run(train=[row | {"labels": [-100] * 12} for row in TRAIN]),
    "NaN or zero loss": beyond_range,
    "scaler skipping": overflowing,
    "gradient cut off": cut_off,
    "learning rate too high": too_fast,
    "loss flat": run(learning_rate=1e-9),
    "overfitting": run(train=TRAIN[:4], max_steps=40, learning_rate=3e-2),
    "evaluated on training data": run(train=TRAIN[:8], held_out=TRAIN[:8], max_steps=60, learning_rate=3e-2),
    "no evaluation": run(eval_strategy="no"),
    "pad token is EOS": padded,
}


@pytest.mark.seconds
@pytest.mark.parametrize("fault", SICK)
def test_a_run_of_trainer_with_the_fault_is_told_and_nothing_else_is(fault, base, tmp_path):
    SICK[fault](tmp_path, base)
    assert found(tmp_path) == [fault]


def test_every_check_has_a_sick_folder():
    told = {*SICK, *test_findings.SICK, *(name for name, _ in test_adapter_findings.SICK)}
    assert {name for name, *_ in CHECKS} == told


@pytest.mark.seconds
def test_a_sound_run_of_trainer_has_no_finding(sound):
    run = read_run(sound)
    assert found(sound) == [] and run.writer == "Trainer" and run.passes == 2.5
    lines = report(sound)
    assert lines[:2] == ["folder: a run of Trainer", "run: 20 steps logged, 20 of 20 done"]
    assert lines[-1].startswith("found: nothing, by ")


@pytest.mark.seconds
def test_a_sound_run_of_trl_has_no_finding(by_trl):
    run = read_run(by_trl)
    assert found(by_trl) == [] and run.writer == "TRL" and len(run.history.steps) == 10
    assert report(by_trl)[0] == "folder: a run of TRL"


@pytest.mark.seconds
def test_a_run_of_trl_with_a_fault_is_told(base, tmp_path):
    pytest.importorskip("trl")
    tokenizer = tokenizer_of(base, chat_template="{{ messages[0]['content'] }}")
    train_by_trl(tmp_path, base, tokenizer, eval_strategy="no", learning_rate=1e-9)
    assert found(tmp_path) == ["chat template changed", "loss flat", "no evaluation"]


@pytest.mark.seconds
def test_the_log_is_trainer_s_own(sound):
    log, kept = read_log(sound), json.loads((sound / "kept.json").read_text())
    assert log and log.history.losses == [entry["loss"] for entry in kept if "loss" in entry]
    assert [s.grad_norm for s in log.history.steps] == [entry["grad_norm"] for entry in kept if "loss" in entry]
    assert log.history.held_out == [(entry["step"], entry["eval_loss"]) for entry in kept if "eval_loss" in entry]


def test_the_newest_checkpoint_is_read(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "run")
    for place in (tmp_path / "run").glob("*.*"):
        place.unlink()
    run = read_run(tmp_path / "run")
    assert len(run.history.steps) == 20 and run.adapter and run.factors
    assert run == read_run(tmp_path / "run/checkpoint-20")
    shutil.rmtree(tmp_path / "run/checkpoint-20")
    assert read_run(tmp_path / "run").history.steps[-1].step == 16  # and not checkpoint-8
    shutil.copy(sound / "checkpoint-8" / STATE, tmp_path / "run")  # of an earlier save_state()
    assert read_run(tmp_path / "run").history.steps[-1].step == 16


@pytest.mark.seconds
def test_full_fine_tuning_has_a_log_and_no_adapter(base, tmp_path):
    train(tmp_path, base_model(base), learning_rate=3e-3, save_strategy="steps", save_only_model=True)
    assert found(tmp_path) == [] and "adapter: none" in report(tmp_path)


@pytest.mark.seconds
def test_of_several_evaluation_sets_the_first_counts(base, tmp_path):
    held_out = {"one": TRAIN[:4], "two": TRAIN[4:8]}
    trainer = train(tmp_path, peft_model(base_model(base)), held_out=held_out)  # pyright: ignore[reportArgumentType]
    losses = [entry["eval_one_loss"] for entry in trainer.state.log_history if "eval_one_loss" in entry]
    assert [loss for _, loss in read_run(tmp_path).history.held_out] == losses and len(losses) == 4


def test_a_log_without_norms_is_no_log_of_skipped_steps(sound, tmp_path):
    """Transformers before 4.38 wrote none."""
    state = json.loads((sound / "checkpoint-20" / STATE).read_text())
    for entry in state["log_history"]:
        entry.pop("grad_norm", None)
    (tmp_path / STATE).write_text(json.dumps(state))
    assert found(tmp_path) == [] and not any(s.skipped for s in read_run(tmp_path).history.steps)


class Bomb:
    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def test_no_pickle_is_opened(sound, tmp_path):
    shutil.copytree(sound, tmp_path / "run")
    mark, bomb = tmp_path / "exploded", pickle.dumps(Bomb(tmp_path / "exploded"))
    pickle.loads(bomb)
    assert mark.exists(), "the bomb works"
    mark.unlink()
    places = [tmp_path / "run", tmp_path / "run/checkpoint-20"]
    assert {p.name for p in places[1].iterdir()} >= set(PICKLES)
    for place in places:
        for name in (*PICKLES, "adapter_model.bin", "pytorch_model.bin"):
            (place / name).write_bytes(bomb)
    assert report(tmp_path / "run")[0] == "folder: a run of Trainer"
    for place in places:
        (place / "adapter_model.safetensors").unlink()
    assert found(tmp_path / "run") == ["pickled weights"] and not mark.exists()


ENTRY = '{"global_step": 1, "max_steps": 1, "epoch": 1, "log_history": [{"loss": "low", "step": 1}]}'


@pytest.mark.parametrize("text", ["{", "{}", "[1]", ENTRY])
def test_a_damaged_log_is_refused(text, tmp_path):
    (tmp_path / STATE).write_text(text)
    with pytest.raises(CheckpointError):
        read_run(tmp_path)
