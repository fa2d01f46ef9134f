"""The benchmark of answers: its ratios on a made-up clock, and the whole script on the least work."""

import json
import sys

import pytest

from benchmarks import answers, latency
from lorabook.training.answers import Answer


def test_a_rate_is_tokens_over_time_and_the_ratio_is_of_the_first_to_the_second(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])

    def run(seconds: float, text: str = "x") -> list[Answer]:
        now[0] += seconds
        return [Answer(text, 6, False), Answer(text, 4, True)]

    found = answers.measure({"together": lambda: run(2.0), "one at a time": lambda: run(8.0)}, 0)
    assert found["ratio"] == [4, 4, 4] and found["tokens"] == 10
    assert found["tokens_per_second"] == {"together": 5.0, "one at a time": 1.25}
    with pytest.raises(AssertionError, match="different answers"):
        answers.measure({"lorabook": lambda: run(1.0), "PEFT": lambda: run(1.0, "y")}, 0)


@pytest.mark.seconds
def test_the_script_prints_both_ratios_and_writes_its_record(tmp_path, monkeypatch, capsys):
    small = ["--model", "pocket", "--tokens", "2", "--seconds", "0", "--output", str(tmp_path / "answers.json")]
    for again in ([], ["--only", "one prompt"]):
        monkeypatch.setattr(sys, "argv", ["answers.py", *small, *again])
        answers.main()
    record, printed = json.loads((tmp_path / "answers.json").read_text()), capsys.readouterr().out
    assert record["script"] == "benchmarks/answers.py" and record["model"] == "pocket"
    assert [(name, case["tokens"], case["turns"]) for name, case in record["cases"].items()] == [
        ("one prompt", 2, 5),
        ("sixteen prompts", 32, 5),
    ]
    for name, case in record["cases"].items():
        assert f"{name}: " in printed and f"ratio {case['ratio'][1]:.2f} (" in printed
