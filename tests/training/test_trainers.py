"""The same job in ten lines of Transformers' Trainer, and of TRL's SFTTrainer, with PEFT: same labels, same loss."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from lorabook import LoRAConfig, apply_lora, data
from lorabook.data.examples import Example, encode_all
from lorabook.models import load_model
from lorabook.step.config import TrainConfig
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from tests.kit.notebooks import MORE_CLINIC, MORE_FINETUNE, section

pytestmark = pytest.mark.slow
LR, STEPS, BATCH = 5e-3, 6, 8  # LR and BATCH are also the page's


@pytest.fixture(scope="module")
def tokenizer():
    return load_model("pocket").tokenizer


@pytest.fixture(scope="module")
def train(tokenizer) -> list[Example]:
    """As many examples as a batch has, so that every step is on the same."""
    return encode_all(data.load("sample").pairs[:BATCH], tokenizer, 256)


@pytest.fixture(scope="module")
def ours(train) -> list[float]:
    """The loss of every step in lorabook's loop."""
    model = load_model("pocket").model
    apply_lora(model, LoRAConfig(r=16, alpha=32))
    config = TrainConfig(lr=LR, steps=STEPS, warmup=0.0, batch_tokens=10**6, micro_tokens=10**6, log_every=0)
    history = finetune(model, train, train, config)
    assert history.held_out[0][1] == pytest.approx(history.steps[0].loss, abs=1e-5)
    return [step.loss for step in history.steps]


@pytest.fixture
def notebook(train, tokenizer, tmp_path, monkeypatch) -> dict:
    """What this code finds in the notebook."""
    monkeypatch.chdir(tmp_path)
    return {"run": SimpleNamespace(training=train), "tokenizer": tokenizer, "load_model": load_model}


def code_below(heading: str, page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", section(page, heading), re.DOTALL)


def blocks() -> list[str]:
    """The page's code, with as many steps as here, and not trained yet."""
    found = code_below("The same with Trainer and with TRL", MORE_FINETUNE)
    assert '"max_steps": 28' in found[0] and all(code.endswith("\ntrainer.train()\n") for code in found[1:])
    return [
        code.replace('"max_steps": 28', f'"max_steps": {STEPS}').replace("\ntrainer.train()\n", "\n") for code in found
    ]


@pytest.mark.parametrize("which", ["Trainer", "SFTTrainer"])
def test_the_page_s_trainers_have_the_same_labels_the_same_first_loss_and_a_like_course(which, notebook, train, ours):
    data_rows, with_trainer, with_trl = blocks()
    exec(data_rows + with_trainer, notebook)
    if which == "SFTTrainer":
        pytest.importorskip("trl")
        exec(with_trl, notebook)
    trainer = notebook["trainer"]
    assert type(trainer).__name__ == which
    (batch,) = trainer.get_train_dataloader()
    assert int((batch["labels"] != -100).sum()) == sum(example.label_tokens for example in train)
    assert int(batch["attention_mask"].sum()) == sum(len(example.input_ids) for example in train)
    trainer.train()
    theirs = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert theirs[0] == pytest.approx(ours[0], abs=1e-4)
    assert len(theirs) == STEPS and theirs == sorted(theirs, reverse=True)
    # another start of A, and another schedule
    assert theirs[-1] == pytest.approx(ours[-1], abs=0.2) and ours[-1] < ours[0] - 0.4
    assert answer_loss(trainer.model.get_base_model(), train).loss < ours[0] - 0.4


def test_the_clinic_s_checks_on_a_good_run(notebook, tokenizer, train, capsys):
    """They are for a reader's own `trainer`, so no cell runs them."""
    before, after = code_below("The same checks in PEFT and Trainer", MORE_CLINIC)
    exec("".join(blocks()[:2]), notebook)
    exec(before, notebook)
    dtypes, rate, scaling, counts, answer, *_, ends, start = capsys.readouterr().out.splitlines()
    assert (dtypes, rate, scaling) == ("{torch.float32}", str(LR), "{'default': 2.0}")
    assert sorted(map(int, re.findall(r"\d+", counts))) == sorted(example.label_tokens for example in train)
    assert any(answer in tokenizer.decode(example.input_ids[example.answer_start :]) for example in train)
    ended = [example.input_ids[-1] == tokenizer.eos_token_id for example in train]
    assert ends.count("True") == sum(ended) and start.startswith("'Question: ")
    notebook["trainer"].train()
    capsys.readouterr()
    exec(after, notebook)
    norm, zero = capsys.readouterr().out.splitlines()
    assert float(norm) > 0 and zero == "[]"
