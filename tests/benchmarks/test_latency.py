"""The latency benchmark: its arithmetic on a made-up clock, the models, and the whole script on the least work."""

import json
import sys

import pytest
import torch

from benchmarks import latency


def test_a_busy_spell_changes_no_ratio(monkeypatch):
    """A clock that goes eight times as fast in some turns: all take turns in it, so their ratios stay."""
    now, order = [0.0], []
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])

    def run(name: str, seconds: float) -> None:
        turn = len(order) // 3
        order.append(name)
        now[0] += seconds * (8 if turn in (0, 2, 3) else 1)

    runs = {n: lambda n=n, s=s: run(n, s) for n, s in (("base", 1.0), ("merged", 1.0), ("bottleneck", 1.5))}
    found = latency.summary(latency.take_turns(runs, 0, lambda: None))
    assert found["turns"] == 5 and found["ratios"] == {"merged": [1, 1, 1], "bottleneck": [1.5, 1.5, 1.5]}
    assert found["milliseconds"] == {"base": 1000, "merged": 1000, "bottleneck": 1500}  # of 1, 8, 8, 1, 1
    assert order[0::3] == ["base", "merged", "bottleneck"] * 2


def test_time_that_is_left_goes_into_turns(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])

    def run() -> None:
        now[0] += 1.0

    assert len(latency.take_turns({"base": run}, 20.5, lambda: None)["base"]) == 20
    assert len(latency.take_turns({"base": run}, 1e9, lambda: None)["base"]) == latency.MOST


@torch.inference_mode()
def test_the_models_are_what_their_names_say():
    models, counts = latency.contenders(latency.pocket, "cpu")
    per_rank = (256 + 320) + (256 + 256) + 2 * (256 + 1024)  # d + k of a block's c_attn, two c_proj and c_fc
    assert counts["LoRA"] == 4 * 16 * per_rank

    def trained(m: int) -> int:
        return 4 * 2 * (2 * m * 256 + 256 + m) + 9 * 2 * 256

    assert counts["bottleneck"] == trained(counts["m"])
    assert abs(counts["bottleneck"] - counts["LoRA"]) <= (trained(1) - trained(0)) / 2
    sizes = {name: sum(p.numel() for p in model.parameters()) for name, model in models.items()}
    assert sizes["merged"] == sizes["base"]
    assert {type(m).__name__ for m in models["merged"].modules()} == {
        type(m).__name__ for m in models["base"].modules()
    }
    ids = torch.arange(16)[None]
    latency.check(models, ids)
    with pytest.raises(AssertionError, match="merged and unmerged differ"):
        latency.check(models | {"merged": models["base"]}, ids)


@pytest.mark.seconds
def test_the_script_prints_both_tables_and_writes_its_record(tmp_path, monkeypatch, capsys):
    small = ["--models", "pocket", "--batches", "1", "--sequence", "16", "--tokens", "2", "--seconds", "0"]
    monkeypatch.setattr(sys, "argv", ["latency.py", *small, "--output", str(tmp_path / "latency.json")])
    latency.main()
    record, printed = json.loads((tmp_path / "latency.json").read_text()), capsys.readouterr().out
    assert record["script"] == "benchmarks/latency.py" and record["threads"] == torch.get_num_threads()
    assert {"torch", "transformers", "python", "lorabook"} == set(record["versions"]) and "load" in record
    run = record["runs"][0]
    assert (run["model"], run["device"]) == ("pocket", "cpu")
    assert [(row["what"], row["batch"], row["sequence"]) for row in run["rows"]] == [
        ("forward", 1, 16),
        ("generate", 1, 2),
    ]
    for row in run["rows"]:
        assert list(row["milliseconds"]) == ["base", "LoRA", "merged", "bottleneck"]
        assert all(low <= middle <= high for low, middle, high in row["ratios"].values())
        assert f"{row['ratios']['bottleneck'][1]:.2f} (" in printed
    paper = ("+2.2%", "+3.0%", "+5.0%", "+8.4%", "+20.7%", "+30.3%")  # as the paper has them
    assert all(f"({percent})" in printed for percent in paper)
