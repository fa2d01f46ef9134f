"""The GPU benchmark where there is no GPU: its search, its terms on a mocked GPU, and all of it on a tiny model."""

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from transformers import GPTBigCodeForCausalLM

from benchmarks import gpu
from lorabook.errors import TrainingError
from lorabook.models.attention import EXPANDED, attention_for
from lorabook.models.precision import precision_for
from tests.kit import processes


@pytest.mark.parametrize("guess", [0, 1, 7, 40, 1000])
def test_the_search_finds_the_last_that_fits(guess):
    for last in [*range(12), 37, 64, 999]:
        tried: list[int] = []

        def fits(rows: int, last=last, tried=tried) -> bool:
            tried.append(rows)
            return rows <= last

        assert gpu.largest(fits, guess) == last
        assert len(tried) == len(set(tried)) <= 22 and min(tried) >= 1
        if guess == last:
            assert len(tried) <= (2 if last < 32 else 8)


def test_a_gpu_is_held_to_a_t4_s_terms(monkeypatch):
    said = {}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(total_memory=80 * 2**30))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", lambda share: said.update(share=share))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))  # put back after the test
    for name in ("flash", "cudnn", "mem_efficient", "math"):
        monkeypatch.setattr(torch.backends.cuda, f"enable_{name}_sdp", lambda on, name=name: said.update({name: on}))
    setting = gpu.t4.full_size()
    gpu.t4.hold_to_a_t4(setting.cap)
    assert said == {"share": 14.75 / 80, "flash": False, "cudnn": False}
    assert precision_for("cuda").weights == torch.float16 and precision_for("cuda").scaler
    assert attention_for("cuda") == EXPANDED
    config = setting.config()
    assert (config.n_positions, config.vocab_size, config.attn_pdrop, config.multi_query) == (8192, 49152, 0.1, True)


def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--output", str(tmp_path / "gpu.json")])
    gpu.main()
    assert capsys.readouterr().out.startswith("skipped: no CUDA GPU") and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory"), TrainingError("One row alone does not fit.", "Recompute.")],
)
def test_a_run_that_does_not_fit_is_an_answer(error, monkeypatch):
    def refuse(*args, **kwargs):
        raise error

    setting = gpu.t4.tiny()
    monkeypatch.setattr(gpu.t4, "finetune", refuse)
    result = gpu.t4.work(setting, gpu.Job("lorabook", 1, 32, True, 2))
    assert result == {"failed": f"{type(error).__name__}: {error}"}
    most = gpu.largest_batches(replace(setting, cap=1), 32, True, lambda *_: result)
    assert most["lorabook"] == {"rows": 0, "estimated_rows": 0, "refused_next": result["failed"]}
    assert gpu.line(most, "lorabook").endswith(result["failed"])


@pytest.mark.parametrize("contender", ["lorabook", "PEFT"])
@pytest.mark.seconds
def test_every_layer_of_a_contender_is_trained_when_activations_are_recomputed(contender):
    """Checkpoints could cut the gradient of a frozen model; the contender would then be fast for nothing."""
    model, stamps = GPTBigCodeForCausalLM(gpu.t4.tiny().config()), []
    build = gpu.t4.with_lorabook if contender == "lorabook" else gpu.t4.with_peft
    ids = torch.randint(1, 512, (2, 16)).tolist()
    adapted, train = build(model, ids, gpu.Job(contender, 2, 16, True, 2), lambda *_: stamps.append(0))
    train()
    moved = [bool(p.any()) for name, p in adapted.named_parameters() if name.endswith((".B", "lora_B.default.weight"))]
    assert moved == [True] * 8 and len(stamps) == 2


@pytest.mark.slow
def test_all_of_it_on_a_tiny_model(tmp_path, monkeypatch, capsys):
    setting = replace(gpu.t4.tiny(), searches=((32, False),))
    monkeypatch.setitem(gpu.t4.SETTINGS, "cpu", lambda: setting)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--turns", "1", "--output", str(tmp_path / "gpu.json")])
    gpu.main()
    record, printed = json.loads((tmp_path / "gpu.json").read_text()), capsys.readouterr().out
    assert record["script"] == "benchmarks/gpu.py" and record["versions"]["torch"] == torch.__version__
    assert {"gpu", "gpu_bytes", "capability", "terms", "model", "lora", "same_tokens", "largest"} < record.keys()
    assert [(row["rows"], row["sequence"]) for row in record["same_tokens"]] == [(4, 32), (1, 128)]
    for row in record["same_tokens"] + record["largest"]:
        ours, theirs = row["lorabook"], row["PEFT"]
        assert ours["peak"] == pytest.approx(row["dry_run"], abs=64)  # the step's running sum of losses
        assert ours["peak"] == pytest.approx(row["estimate"], rel=0.02)
        for found in (ours, theirs):
            assert found["weights"] == found["trained"] == "float32" and found["attention"] == "flash_attention_for_cpu"
            tokens = found.get("rows", row.get("rows")) * row["sequence"]
            assert found["tokens_per_second"] == pytest.approx(tokens / found["seconds"], rel=0.01)
            assert f"{found['peak'] / 2**20:,.1f}" in printed
    long, short = (row["lorabook"]["peak"] for row in record["same_tokens"])
    assert long == pytest.approx(short, rel=0.01)  # attention stores no scores
    most = record["largest"][0]
    ours = most["lorabook"]
    assert ours["peak"] <= setting.cap and abs(ours["rows"] - ours["estimated_rows"]) <= 1
    assert 0 < most["PEFT"]["rows"] < ours["rows"]


@pytest.mark.slow
def test_a_process_of_its_own_gives_the_same_peak(monkeypatch):
    def run(command, cwd, env, **_):
        return processes.run(*command[1:], cwd=cwd, env=env)

    monkeypatch.setattr(gpu.subprocess, "run", run)
    setting, job = gpu.t4.tiny(), gpu.Job("lorabook", 2, 32, True, 3)
    apart, here = gpu.in_its_own_process(setting, job), gpu.t4.work(setting, job)
    seconds = [result.pop("seconds") for result in (apart, here)]
    assert apart == here and [len(each) for each in seconds] == [2, 2]
    with pytest.raises(RuntimeError, match="exit code 1"):
        gpu.in_its_own_process(replace(setting, device="no such"), job)
