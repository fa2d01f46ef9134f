"""The doctor of runs: for each fault a run that truly has it and one that has not; what is measured; the report."""

import contextlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from lorabook import LoRAConfig, LoRALinear, apply_lora, cli, lora_layers
from lorabook.data.batches import Batch, collate, epoch_plan
from lorabook.diagnosis.findings import find_faults, look, report
from lorabook.diagnosis.read_run import Norms, Run, read_run
from lorabook.errors import AdapterError, CheckpointError, SettingError, TrainingError
from lorabook.peft_format import adapter_file
from lorabook.step.optimizer import trained
from lorabook.training.history import History, Step
from lorabook.training.loop import finetune
from lorabook.training.record import Labels, RunRecord, applied_scaling, tied_layers
from tests.kit.adapters import adapted
from tests.kit.broken_runs.faults import FAULTS
from tests.kit.broken_runs.user_code import UserCode
from tests.kit.families import MODELS, gpt_bigcode
from tests.kit.runs import HELD_OUT, TRAIN, config, lora_model
from tests.training.test_resume import scaled

LINEAR = ("all-linear",)


def run(folder: Path, fault: str | None = None, model: nn.Module | None = None, train=TRAIN, **changes) -> list[str]:
    """The names of what the doctor finds in a run of 16 steps, by the code of a fault of the clinic or by the right."""
    code = FAULTS[fault].code() if fault else UserCode()
    if model is None:
        model = gpt_bigcode()
        code.apply_lora(model, r=4, alpha=8, targets=LINEAR)
    settings = config(**{"steps": 16, "activation_checkpointing": fault == "gradient cut off"} | changes)
    code.finetune(model, train, HELD_OUT, settings, output=folder)
    if any(lora_layers(model)):
        adapter_file.save(model, folder)
    return [finding.name for finding in find_faults(read_run(folder))]


def from_another_base(folder: Path) -> nn.Module:
    """A model that goes on with an adapter of a base of another seed, by a loader that does not look at the base."""
    adapter_file.save(adapted(gpt_bigcode(), LoRAConfig(r=4, alpha=8)), folder)
    model = gpt_bigcode(seed=1)
    FAULTS["adapter on another base"].wrong(model, folder)
    return model


def overflowing(monkeypatch) -> nn.Module:
    """A model under a loss scale, whose gradient overflows in every third step."""
    scaled(monkeypatch, 2.0**10)
    model, calls = lora_model(targets=LINEAR), []
    trained(model)[0][1].register_hook(lambda g: calls.append(0) or (g * float("inf") if len(calls) % 3 == 0 else g))
    return model


SICK = {
    "all labels masked": lambda folder, _: run(folder, "all labels masked"),
    "labels shifted": lambda folder, _: run(folder, "labels shifted"),
    "EOS never a label": lambda folder, _: run(folder, "EOS never a label"),
    "scaling is not α/r": lambda folder, _: run(folder, "scaling is not α/r"),
    "both factors zero": lambda folder, _: run(folder, "both factors zero"),
    "gradient cut off": lambda folder, _: run(folder, "gradient cut off"),
    "adapter on another base": lambda folder, _: run(folder, model=from_another_base(folder / "other")),
    "tied head adapted": lambda folder, _: run(folder, model=lora_model(targets=("all-linear", "wte"))),
    "scaler skipping": lambda folder, patch: run(folder, model=overflowing(patch), batch_tokens=50, micro_tokens=50),
    "learning rate too high": lambda folder, _: run(folder, model=gpt_bigcode().requires_grad_(True), lr=1.0),
    "loss flat": lambda folder, _: run(folder, lr=1e-9),
    "overfitting": lambda folder, _: run(folder, train=TRAIN[:3], steps=60, lr=2e-2),
}


@pytest.fixture(scope="module")
def healthy(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("healthy")
    assert run(folder) == []
    return folder


@pytest.mark.seconds
@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # of the checkpointing that cuts
@pytest.mark.parametrize("fault", SICK)
def test_a_run_with_the_fault_is_told_and_nothing_else_is(fault, tmp_path, monkeypatch):
    assert SICK[fault](tmp_path, monkeypatch) == [fault]


def test_every_check_of_a_sick_run_answers_no_for_the_healthy(healthy):
    present = {finding.name: finding.present for finding in look(read_run(healthy))}
    assert {name: present[name] for name in SICK} == dict.fromkeys(SICK, False)


def test_an_embedding_that_no_gradient_reached_keeps_the_other_factor_at_zero(healthy):
    facts = read_run(healthy)
    for norms, found in ((Norms(0.0, 8.0, True), ["gradient cut off"]), (Norms(2.0, 8.0, True), [])):
        embedded = replace(facts, factors={**(facts.factors or {}), "transformer.wte": norms})
        assert [finding.name for finding in find_faults(embedded)] == found


def history(losses: list[float], *held_out: float, stopped: str = "finished") -> Run:
    steps = [Step(i + 1, loss, 1e-3, 1.0, 10, 5, 0.1, 0) for i, loss in enumerate(losses)]
    return Run(History(steps, [(i, loss) for i, loss in enumerate(held_out)], stopped))


FALLING = [3 - 0.05 * i for i in range(40)]  # to 1.05
LEAPING = [3.0, 3.0, *[5.0] * 20, *[2.0] * 20]


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        (history(FALLING, 3.0, 1.5), []),
        (history(FALLING, 3.0, 2.5), ["overfitting"]),  # learned 1.9 nats of its own rows, 0.5 of others
        (history(FALLING, 3.0, 2.0, 2.1), ["overfitting"]),  # past its lowest
        (history(LEAPING, 3.0, 3.1), ["learning rate too high"]),
        (history(LEAPING[:7], 3.0, 3.1), []),
        (history(FALLING, 3.0, 3.005, stopped="interrupted"), ["loss flat", "overfitting"]),
        (history(FALLING, 3.0, stopped="interrupted"), []),
        (history([3.0], 3.0, stopped="failed: The loss is nan at step 2."), ["learning rate too high"]),
        (history([], 3.0, stopped="failed: The loss is nan at step 1."), []),  # the base, or fp16
        (history([3.0], 3.0, stopped="failed: One row alone does not fit into memory."), []),
    ],
)
def test_what_a_history_alone_tells(facts, found):
    assert [finding.name for finding in find_faults(facts)] == found


NOISE = [0.1, -0.1, 0.05, -0.05]


@pytest.mark.parametrize(
    ("losses", "held_out", "flat"),
    [
        ([3 + NOISE[i % 4] for i in range(40)], [], True),
        ([3 - 0.01 * i + NOISE[i % 4] for i in range(40)], [], False),
        ([3 + 0.01 * i + NOISE[i % 4] for i in range(40)], [], False),  # another fault
        ([4.0, 3.5, *(3 + NOISE[i % 4] for i in range(400))], [], False),  # fell at once
        ([3 + 10 * NOISE[i % 4] for i in range(10)], [], None),
        ([3 + 10 * NOISE[i % 4] for i in range(10)], [(4, 3.0), (8, 3.005)], True),
        ([3 + 10 * NOISE[i % 4] for i in range(10)], [(4, 3.0), (8, 2.9)], None),
        ([3 + NOISE[i % 4] for i in range(40)], [(0, 3.0), (40, 2.5)], False),
        ([3.0] * 7, [], None),
        ([3.0] * 8, [], True),
    ],
)
def test_what_a_log_of_another_library_tells_of_a_flat_loss(losses, held_out, flat):
    log = history(losses)
    run = Run(History(log.history.steps, held_out), writer="Trainer")
    assert {finding.name: finding.present for finding in look(run)}["loss flat"] is flat


@pytest.mark.parametrize(("epochs", "known"), [(None, None), (2.9, False), (3.0, True)])
def test_rows_held_out_are_judged_after_three_passes(epochs, known):
    run = replace(history([3 - 0.07 * i for i in range(40)], 3.0, 0.2), writer="Trainer", epochs=epochs)
    assert {finding.name: finding.present for finding in look(run)}["evaluated on training data"] is known


def test_nothing_is_learned_by_heart_in_a_first_pass(healthy):
    facts, record = history(FALLING, 3.0, 3.5), read_run(healthy).record
    assert record and record.epoch == len(epoch_plan([len(e.input_ids) for e in TRAIN], 50, 150, 0, 0))
    for epoch, found in ((len(FALLING) - 1, ["overfitting"]), (len(FALLING), [])):
        seen = find_faults(replace(facts, record=replace(record, epoch=epoch)))
        assert [finding.name for finding in seen] == found


def test_modules_with_a_rank_of_their_own_are_not_held_to_one_scaling(healthy):
    record = read_run(healthy).record
    assert record and record.lora
    other = replace(record, scalings={name: 2 * s for name, s in record.scalings.items()})
    assert [finding.name for finding in find_faults(replace(history([3.0], 2.0), record=other))] == [
        "scaling is not α/r"
    ]
    patterned = replace(other, lora=record.lora | {"rank_pattern": {"c_fc": 2}})
    assert find_faults(replace(history([3.0], 2.0), record=patterned)) == []


def test_a_base_that_was_trained_along_is_another_base(tmp_path, monkeypatch):
    """Such an adapter is not saved any more; files of an earlier lorabook are still met."""
    monkeypatch.setattr(adapter_file, "_refuse_changed_base", lambda *_: None)
    model = lora_model(targets=LINEAR)
    model.transformer.ln_f.requires_grad_(True)
    assert run(tmp_path, model=model) == ["adapter on another base"]


# What is measured


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize("family", MODELS)
def test_the_scaling_is_measured_whatever_the_layer_says(family, rslora, monkeypatch):
    model = adapted(MODELS[family](), LoRAConfig(r=4, alpha=12, dropout=0.5, rslora=rslora))
    for _, layer in lora_layers(model):
        assert applied_scaling(layer) == pytest.approx(6.0 if rslora else 3.0, rel=1e-4)
        added = layer.add_update
        monkeypatch.setattr(layer, "add_update", lambda h, x, added=added: h + 5 * (added(h, x) - h))
        assert applied_scaling(layer) == pytest.approx(5 * layer.scaling, rel=1e-4)


def test_the_scaling_is_measured_in_half_precision():
    layer = LoRALinear(nn.Linear(48, 32).half(), LoRAConfig(r=16, alpha=32))
    assert applied_scaling(layer) == pytest.approx(2.0, rel=0.01)


def test_labels_are_read_off_the_batch():
    batches = [collate(TRAIN[:4]), collate(TRAIN[4:6])]
    labels = Labels.of(TRAIN[:6], batches, {0})
    assert (labels.rows, labels.whole_rows, labels.end_labels, labels.distance) == (6, 6, 6, 1)
    assert labels.labels == sum(e.label_tokens for e in TRAIN[:6])
    row, start = TRAIN[0].input_ids, TRAIN[0].answer_start
    assert labels.first[0] == (row[start - 1], row[start])
    assert Labels.of(TRAIN[:6], batches, set()).end_labels is None
    moved = {k: [Batch(b.input_ids, b.label_positions + 1 - k, b.labels) for b in batches] for k in (0, 1, 2)}
    assert {k: Labels.of(TRAIN[:6], part, {0}).distance for k, part in moved.items()} == {0: 0, 1: 1, 2: 2}
    assert Labels.of(TRAIN[:6], [moved[1][0], moved[2][1]], {0}).distance is None


def test_an_end_of_turn_that_only_the_generation_settings_name_is_an_end():
    model = lora_model()
    model.config.eos_token_id, model.generation_config.eos_token_id = 63, [0, 62]  # the rows of TRAIN end in 0
    labels = RunRecord.of(model, config(), TRAIN, [[[0, 1]]], collate).labels
    assert (labels.whole_rows, labels.end_labels) == (2, 2)


def test_labels_at_no_fixed_distance_are_told_too(healthy):
    facts = read_run(healthy)
    assert facts.record
    record = replace(facts.record, labels=replace(facts.record.labels, distance=None))
    (finding,) = find_faults(replace(facts, record=record))
    assert finding.name == "labels shifted" and "no token at a fixed distance" in finding.seen


def test_tied_layers_are_those_that_share_the_head():
    for family, targets, tied in (
        ("GPTBigCode", ("wte", "wpe"), ("transformer.wte",)),
        ("GPTBigCode", ("lm_head",), ("lm_head",)),
        ("Llama", ("embed_tokens", "lm_head"), ()),
    ):
        model = MODELS[family]()
        apply_lora(model, LoRAConfig(r=2, targets=targets))
        assert tied_layers(model) == tied


# What a run leaves


def test_a_run_that_fails_leaves_its_history(tmp_path):
    model = lora_model(targets=LINEAR)
    calls: list[int] = []
    trained(model)[0][1].register_hook(lambda g: calls.append(0) or (g * float("nan") if len(calls) > 5 else g))
    with pytest.raises(TrainingError):
        finetune(model, TRAIN, HELD_OUT, config(steps=20, batch_tokens=50, checkpoint_every=2), output=tmp_path)
    facts = read_run(tmp_path)
    assert len(facts.history.steps) == 5 and facts.history.stopped == "failed: " + facts.history.stopped[8:]
    assert "not finite at step 6" in facts.history.stopped
    assert len(facts.factors or {}) == 8  # of the last checkpoint
    assert [finding.name for finding in find_faults(facts)] == ["learning rate too high"]


def test_a_run_without_its_record_is_looked_at_as_far_as_can_be(healthy, tmp_path):
    (tmp_path / "history.json").write_bytes((healthy / "history.json").read_bytes())
    findings = {finding.name: finding.present for finding in look(read_run(tmp_path))}
    told = {"all labels masked", "scaler skipping", "learning rate too high", "loss flat", "overfitting"}
    assert {name: findings[name] for name in SICK} == {name: False if name in told else None for name in SICK}
    no_record = "the run has no run.json, which only lorabook writes"
    assert any(line.startswith(f"cannot be told, {no_record}: labels shifted, ") for line in report(tmp_path))


def test_facts_travel_as_json(healthy):
    facts = read_run(healthy)
    assert Run.from_json(json.loads(json.dumps(facts.to_json()))) == facts


def spoil(name: str, text: str):
    def spoiled(folder: Path) -> Path:
        (folder / "history.json").write_text('{"steps": [], "held_out": [[0, 1.0]], "stopped": "finished"}')
        (folder / name).write_text(text)
        return folder

    return spoiled


@pytest.mark.parametrize(
    ("place", "error", "words"),
    [
        (lambda folder: folder / "nowhere", SettingError, "There is no folder"),
        (lambda folder: folder, SettingError, "There is no run or adapter in .*: no history.json"),
        (spoil("history.json", "{"), CheckpointError, "cannot be read"),
        (spoil("history.json", '{"steps": 3}'), CheckpointError, "not what was written"),
        (
            spoil("history.json", '{"steps": [], "held_out": [], "stopped": []}'),
            CheckpointError,
            "not what was written",
        ),
        (spoil("run.json", '{"labels": {}}'), CheckpointError, "not what was written"),
        (spoil("adapter_model.safetensors", "x"), AdapterError, "damaged"),
    ],
)
def test_what_is_no_run_is_refused(place, error, words, tmp_path):
    with pytest.raises(error, match=words):
        report(place(tmp_path))


def test_the_command_prints_findings_or_what_it_looked_at(healthy, tmp_path, monkeypatch, capsys):
    run(tmp_path, "labels shifted")
    printed = {}
    for folder in (healthy, tmp_path, tmp_path / "none"):
        monkeypatch.setattr(sys, "argv", ["lorabook", "doctor", "--run", str(folder)])
        with contextlib.suppress(SystemExit):
            cli.main()
        printed[folder] = capsys.readouterr()
    sound, sick = (printed[folder].out.splitlines() for folder in (healthy, tmp_path))
    assert sound[:2] == ["folder: a run of lorabook", "run: 16 steps, finished"] and sound[-1].startswith(
        "found: nothing, by "
    )
    assert {line.partition(":")[0] for line in sound} >= SICK.keys()
    assert sick[4] == "found: labels shifted" and "two places on" in sick[5]
    assert all(line.startswith("cannot be told, ") for line in sick[6:])
    assert printed[tmp_path / "none"].err.startswith("lorabook: There is no folder")
