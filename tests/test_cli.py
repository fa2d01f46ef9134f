"""The command line as a user meets it: results as `name: value`, errors as two sentences and exit code 2."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from jupyter_server.services.config.manager import ConfigManager
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import GenerationMixin
from typer.testing import CliRunner

from lorabook import __version__, cli
from lorabook import atomic as files
from lorabook.data.examples import Pair, encode_all
from lorabook.errors import SettingError
from lorabook.models import load_model
from lorabook.models.known import KNOWN
from lorabook.peft_format import adapter_file
from lorabook.step.engines import SWITCHES
from lorabook.training import loop
from lorabook.training.answers import answer
from lorabook.training.evaluate import answer_loss
from tests.kit import processes
from tests.kit.hub_stub import LoopbackHub
from tests.kit.notebooks import GLOSSARY, NOTEBOOKS, PAGES, cells

STARCODER = "bigcode/starcoderbase-1b"
POCKET = Path(cli.__file__).parent / "assets" / "pocket"
QUICK = ["--steps", "2", "--rows", "30", "--max-length", "96", "--batch-tokens", "256", "--r", "2", "--alpha", "4"]


def lorabook(*arguments: str, **more) -> subprocess.CompletedProcess:
    return processes.run("-m", "lorabook", *arguments, **more)


def values(output: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in output.splitlines() if ": " in line)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Path, str]:
    """A short run in a process of its own, and what it printed."""
    folder = tmp_path_factory.mktemp("cli") / "adapter"
    done = lorabook("finetune", *QUICK, "--output", str(folder))
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def run(*arguments: str):
    """A command in this process, errors raised as they are."""
    return CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)


@pytest.mark.seconds
def test_finetune_prints_what_a_script_may_want(trained):
    folder, printed = trained
    said = values(printed)
    assert printed.startswith("loading: pocket, sample\n") and said["model"] == "pocket"
    assert said["rows read"] == "30"
    assert int(said["questions for training"]) + int(said["questions held out"]) == int(said["pairs kept"])
    assert said["trainable parameters"].startswith("29,184 of ")  # 2 * (d + k) over the sixteen linears of pocket
    assert said["learning rate"] == "0.005" and "of the whole process" in said["peak memory"]
    assert said["to try it"] == f'lorabook ask --adapter {folder} "How do I reverse a list?"'
    last = re.fullmatch(r"held-out loss: (\d+\.\d{4}) → (\d+\.\d{4})", printed.splitlines()[-3])
    assert last and last[1] == said["base loss"] and float(last[2]) < float(last[1])
    assert (folder / "adapter_model.safetensors").exists()
    assert len(json.loads((folder / "history.json").read_text())["steps"]) == 2


@pytest.mark.seconds
def test_a_finished_folder_is_not_written_over(trained, capsys, monkeypatch):
    folder, _ = trained
    kept = (folder / "adapter_model.safetensors").read_bytes()
    monkeypatch.setattr(sys, "argv", ["lorabook", "finetune", *QUICK, "--output", str(folder)])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 2
    assert "already holds a run" in capsys.readouterr().err
    assert (folder / "adapter_model.safetensors").read_bytes() == kept


@pytest.mark.seconds
def test_resuming_a_finished_run_changes_nothing(trained):
    folder, printed = trained
    before = adapter_file.read_config(folder), load_file(folder / "adapter_model.safetensors")
    again = run("finetune", *QUICK, "--output", str(folder), "--resume")
    assert "resuming from step 2\n" in again.stdout
    assert values(again.stdout)["held-out loss"] == values(printed)["held-out loss"]
    config, tensors = before
    now = load_file(folder / "adapter_model.safetensors")
    assert adapter_file.read_config(folder) == config
    assert now.keys() == tensors.keys() and all(torch.equal(now[key], tensors[key]) for key in now)


@pytest.mark.seconds
def test_another_machine_goes_on_from_the_copies_of_the_checkpoints(tmp_path):
    drive = tmp_path / "drive"
    run("finetune", *QUICK, "--output", str(tmp_path / "one"), "--copy-to", str(drive))
    with pytest.raises(SettingError, match=r"drive holds the checkpoints of a run\. Add --resume"):
        run("finetune", *QUICK, "--output", str(tmp_path / "two"), "--copy-to", str(drive))
    (copied,) = drive.iterdir()
    before = (copied / "state.safetensors").stat().st_mtime_ns
    run("finetune", *QUICK, "--output", str(tmp_path / "two"), "--copy-to", str(drive), "--resume")
    histories = [json.loads((tmp_path / name / "history.json").read_text()) for name in ("one", "two")]
    assert histories[0]["steps"] == histories[1]["steps"]  # to the second: none was taken again
    assert (copied / "state.safetensors").stat().st_mtime_ns == before


@pytest.mark.seconds
def test_ask_answers_the_same_every_time(trained):
    folder, _ = trained
    question = "How do I reverse a list?"
    answers = [run("ask", "--adapter", str(folder), "--max-new-tokens", "12", question).stdout for _ in range(2)]
    assert answers[0] == answers[1] and len(answers[0].splitlines()) > 3  # three lines about the model, then the answer


@pytest.mark.seconds
def test_ask_takes_all_questions_of_a_file_and_counts_exact_matches(trained, tmp_path):
    ask = ("ask", "--adapter", str(trained[0]), "--max-new-tokens", "6")
    alone = "\n".join(run(*ask, "What is a list?").stdout.splitlines()[3:]).strip()  # below three lines on the model
    file = tmp_path / "new.jsonl"
    rows = [{"question": "What is a list?", "answer": alone}, {"question": "What is a tuple?", "answer": "A row."}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = run(*ask, "--data", str(file)).stdout
    assert f"question: What is a list?\nin the data: {alone}\nmodel: {alone}\n" in said
    assert "question: What is a tuple?\nin the data: A row.\nmodel: " in said
    assert said.splitlines()[-3] == "exact matches: 1 of 2"
    loaded = load_model("pocket", device="cpu")
    questions = ("What is a tuple?", "What is a list?")  # the second answer, with its own and with the first question
    examples = [encode_all([Pair(0, "", question, "A row.")], loaded.tokenizer, 512) for question in questions]
    losses = [[answer_loss(loaded.model, each).loss for each in examples]]
    adapter_file.load(loaded.model, trained[0])
    losses.append([answer_loss(loaded.model, each).loss for each in examples])
    assert said.splitlines()[-2:] == [
        f"loss with {name}: {before:.3f} → {after:.3f}"
        for name, before, after in zip(("the right questions", "wrong questions"), *losses)
    ]


@pytest.mark.seconds
def test_ask_marks_the_tokens_that_the_model_did_not_expect(trained, tmp_path):
    file = tmp_path / "new.jsonl"
    right = "A zebra is a zebra is a zebra."
    rows = [{"question": question, "answer": right} for question in ("What is it?", "And now?")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = run("ask", "--adapter", str(trained[0]), "--max-new-tokens", "2", "--data", str(file), "--by-token").stdout
    marked = next(line for line in said.splitlines() if line.startswith("by token: ")).removeprefix("by token: ")
    costs = [float(cost) for cost in re.findall(r"\[.*? (\d+\.\d\d)\]", marked)]
    assert re.sub(r"\[(.*?) \d+\.\d\d\]", r"\1", marked) == f"{right}<|endoftext|>"
    loaded = load_model("pocket", device="cpu")
    adapter_file.load(loaded.model, trained[0])
    question = re.findall("question: (.*)", said)[0]
    (example,) = encode_all([Pair(0, "", question, right)], loaded.tokenizer, 512)
    total = answer_loss(loaded.model, [example]).loss * example.label_tokens
    assert min(costs) >= 0.5 and 0 < total - sum(costs) < 0.5 * (example.label_tokens - len(costs))


def test_ask_compares_with_the_answers_of_a_file():
    for option in ("--by-token", "--before"):
        with pytest.raises(SettingError, match=r"--by-token and --before are for --data\. Give a file"):
            run("ask", option, "What?")


@pytest.mark.seconds
def test_ask_shows_what_the_base_answered_before(trained, tmp_path):
    file = tmp_path / "new.jsonl"
    base = load_model("pocket", device="cpu")
    written = answer(base.model, base.tokenizer, Pair(0, "", "What is a list?", ""), 6).strip()
    rows = [{"question": "What is a list?", "answer": written}, {"question": "What is a tuple?", "answer": "A row."}]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = run("ask", "--adapter", str(trained[0]), "--max-new-tokens", "6", "--data", str(file), "--before").stdout
    assert f"question: What is a list?\nin the data: {written}\nbefore: {written}\nmodel: " in said
    assert "\nexact matches before: 1 of 2\nexact matches: " in said


@pytest.mark.parametrize(("arguments", "seen"), [((), "neither"), (("What?", "--data", "new.jsonl"), "both")])
def test_ask_takes_a_question_or_data(arguments, seen):
    with pytest.raises(SettingError, match=rf"You gave {seen} a question .* Give one of the two\."):
        run("ask", *arguments)


COUNTED = """
import atexit, gc, sys
collections = []
gc.callbacks.append(lambda phase, info: phase == "start" and collections.append(info["generation"]))
atexit.register(lambda: print(len(collections), collections.count(2), gc.get_freeze_count(), file=sys.stderr))
"""


@pytest.mark.slow
def test_ask_hardly_looks_for_garbage_while_it_imports_nor_at_the_end(trained):
    """In a plain Python that imports the same, a quarter of the time goes into garbage collection."""

    def count(program: str, *arguments: str) -> list[int]:
        done = subprocess.run([sys.executable, "-c", COUNTED + program, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [int(number) for number in done.stderr.splitlines()[-1].split()]

    answer = ("ask", "--adapter", str(trained[0]), "--max-new-tokens", "1", "x")
    ours, ours_full, frozen = count("from lorabook import cli; cli.main()", *answer)
    plain, plain_full, _ = count("import tokenizers; from transformers.models.gpt_bigcode import modeling_gpt_bigcode")
    assert ours < plain / 4 and ours_full == 0 < plain_full, (ours, ours_full, plain, plain_full)
    assert frozen > 100_000  # what is frozen at exit isn't looked at again


@pytest.mark.seconds
def test_ask_writes_the_prompt_that_was_trained_on_by_the_template_of_the_run(tmp_path, monkeypatch):
    base, mine, out = tmp_path / "base", tmp_path / "mine.jsonl", tmp_path / "out"
    shutil.copytree(POCKET, base)
    template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|endoftext|>{% endfor %}{{ '<assistant>' }}"
    (base / "chat_template.jinja").write_text(template)
    rows = [{"question": f"What is `{i} < {i + 1}`?", "answer": f"```\nTrue\n```\n{i}"} for i in range(12)]
    mine.write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen, real, asked, generate = [], loop.finetune, [], GenerationMixin.generate
    monkeypatch.setattr(
        loop, "finetune", lambda model, train, *rest, **more: seen.extend(train) or real(model, train, *rest, **more)
    )
    options = ["--model", str(base), "--data", str(mine), "--chat-template", "--output", str(out)]
    said = values(run("finetune", *QUICK, *options).stdout)
    assert said["texts read as"] == "Markdown or plain text, since 0 of the first 24 texts contain HTML tags"
    assert (out / "chat_template.jinja").read_text() == template
    (base / "chat_template.jinja").write_text("another one")

    def listen(self, ids, **more):
        asked.append(ids[0].tolist())
        return generate(self, ids, **more)

    monkeypatch.setattr(GenerationMixin, "generate", listen)
    question = rows[seen[0].question_id - 1]["question"]
    answered = run("ask", "--adapter", str(out), "--max-new-tokens", "4", question).stdout
    assert "prompt: by the chat template" in answered
    assert asked == [list(seen[0].input_ids[: seen[0].answer_start])]
    (out / "chat_template.jinja").unlink()
    (base / "chat_template.jinja").write_text(template)
    for option, length in ((["--chat-template"], len(asked[0])), ([], None)):
        run("ask", "--adapter", str(out), "--max-new-tokens", "4", question, *option)
        assert (asked[-1] == asked[0]) == (length is not None)


def test_every_option_that_readme_names_exists():
    text = (Path(cli.__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    section = text.split("\n## From the command line\n")[1].split("\n## ")[0]
    helped = "".join(
        run(name, "--help").stdout for name in ("finetune", "ask", "merge", "memory", "doctor", "workbook")
    )
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z_-]*", section)) - {
        "--no-deps",
        "--multi_gpu",
        "--num_processes",
        "--nproc-per-node",
    }
    assert len(named) > 10 and named <= set(re.findall(r"--[a-z][a-z-]*", helped))


@pytest.mark.seconds
def test_merge_writes_a_plain_model_with_the_same_logits(trained, tmp_path):
    folder, _ = trained
    run("merge", "--adapter", str(folder), "--output", str(tmp_path / "merged"))
    tuned = load_model("pocket").model
    adapter_file.load(tuned, folder)
    merged = load_model(str(tmp_path / "merged")).model
    modes = {(tmp_path / "merged" / name).stat().st_mode for name in ("config.json", "model.safetensors")}
    assert len(modes) == 1
    ids = torch.arange(40)[None]
    with torch.no_grad():
        assert (merged(ids).logits - tuned(ids).logits).abs().max() < 1e-4
        assert not torch.equal(merged(ids).logits, load_model("pocket").model(ids).logits)


def test_doctor_takes_eleven_lines():
    lines = run("doctor").stdout.splitlines()
    assert len(lines) == 11 and all(": " in line for line in lines)
    assert lines[-1].startswith(f"missing for {STARCODER}")


@pytest.mark.parametrize("command", ["finetune", "ask", "merge", "doctor"])
def test_help_shows_an_example(command):
    assert f"Example: lorabook {command}" in run(command, "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--r", "0"], "The rank r is 0"),
        (["--text-format", "rst"], "The text format is 'rst'"),
        (["--chat-template"], "The tokenizer of this model has no chat template"),
        (["--lr", "-1"], "lr is -1"),
    ],
)
def test_a_mistake_ends_in_one_clear_message(arguments, message, tmp_path, monkeypatch, capsys):
    options = ["lorabook", "finetune", *QUICK, "--output", str(tmp_path / "out"), *arguments]
    monkeypatch.setattr(sys, "argv", options)
    with pytest.raises(SystemExit) as exit:
        cli.main()
    error = capsys.readouterr().err
    assert exit.value.code == 2
    assert error.startswith("lorabook: ") and message in error and "Traceback" not in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.hub
def test_starcoder_by_name(tmp_path):
    """Against a hub that answers as the real one: no token, licence not accepted, success, offline."""
    token, arguments = "hf_planted_token_0123456789", ["finetune", "--model", STARCODER, *QUICK]
    with LoopbackHub() as hub:
        hub.add(STARCODER, POCKET, gated=True, licence="bigcode-openrail-m", commit=KNOWN[STARCODER].revision)
        none = lorabook(*arguments, "--output", str(tmp_path / "1"), env=hub.environment(tmp_path / "home"))
        hub.know(token)
        with_token = hub.environment(tmp_path / "home", token=token)
        refused = lorabook(*arguments, "--output", str(tmp_path / "2"), env=with_token)
        hub.accept(token, STARCODER)
        good = lorabook(*arguments, "--output", str(tmp_path / "3"), env=with_token)
        unreached = hub.environment(tmp_path / "other-home", token=token)
    offline = lorabook(*arguments, "--output", str(tmp_path / "4"), env=unreached)
    for done, message in (
        (none, "is gated, and no access token was found"),
        (refused, "has not accepted its licence"),
        (offline, "the Hugging Face Hub cannot be reached"),
    ):
        assert done.returncode == 2, done.stderr
        assert message in done.stderr and "Traceback" not in done.stderr
    assert "bigcode/tiny_starcoder_py" in none.stderr and "bigcode/tiny_starcoder_py" in refused.stderr
    assert good.returncode == 0, good.stderr
    assert "held-out loss: " in good.stdout
    assert token not in "".join(d.stdout + d.stderr for d in (none, refused, good, offline))
    assert adapter_file.read_config(tmp_path / "3")["base_model_name_or_path"] == STARCODER


@pytest.mark.seconds
def test_memory_estimates_and_runs_dry():
    article = ["--r", "16", "--alpha", "8", "--targets", "c_attn,c_proj,c_fc,wte,wpe"]
    said = values(run("memory", STARCODER, *article, "--dry-run", "--bytes").output)
    assert said["trainable parameters"] == "12,091,392 of 1,149,298,688"
    assert said["trainable weights"] == said["gradients"] == f"{4 * 12_091_392} bytes"
    predicted, dry = (int(said[f"{word} peak"].split(" bytes")[0]) for word in ("predicted", "dry run"))
    assert dry == pytest.approx(predicted, rel=0.05)
    people = values(run("memory", STARCODER, *article).output)
    assert people["trainable weights"] == "46.1 MiB" and people["frozen weights"] == "2.12 GiB"
    assert 2_274_414_592 < predicted < 14.75 * 2**30 and said["T4 (14.75 GiB)"].startswith("fits, largest batch ")


@pytest.mark.seconds
def test_memory_still_understands_the_old_name_of_the_dry_run():
    old, new = (run("memory", "pocket", f"--{name}") for name in ("rehearse", "dry-run"))
    assert old.stdout == new.stdout and "dry run peak: " in old.stdout
    assert "--rehearse is now called --dry-run" in old.stderr and not new.stderr


def test_memory_shows_what_does_not_fit():
    said = values(run("memory", STARCODER, "--full").output)
    assert said["T4 (14.75 GiB)"] == "does not fit, largest batch 0"
    said = values(run("memory", STARCODER, "--full", "--batch", "4", "--sequence", "512").output)
    assert said["L4 (22.00 GiB)"] == "tight, largest batch 0" and said["RTX 4090 (23.50 GiB)"].startswith(
        "fits, largest"
    )


def test_memory_of_several_gpus():
    """A copy on each (DDP) holds a little more than one alone, a shard (FSDP) less; 4 bits have no shards."""
    arguments = ("bigcode/starcoderbase-7b", "--batch", "1", "--bytes", "--gpus", "4")
    said = values(run("memory", *arguments).output)
    alone, copy, part = (
        int(said[name].split(" bytes")[0])
        for name in ("predicted peak", "on each of 4 GPUs, DDP", "on each of 4 GPUs, FSDP")
    )
    assert alone / 4 < part < alone < copy == alone + int(said["gradients"].split(" bytes")[0])
    assert re.fullmatch(r"does not fit, largest batch 0, on each of 4: 0 \(DDP\), \d+ \(FSDP\)", said["T4 (14.75 GiB)"])
    packed = run("memory", *arguments, "--weights", "nf4").output
    assert "DDP" in packed and "FSDP" not in packed


@pytest.mark.seconds
@pytest.mark.parametrize(
    ("more", "processes", "problem"),
    [([], "1", "one process only"), (["--quantize", "nf4"], "2", "4 bits cannot be sharded")],
)
def test_what_is_not_sharded_is_refused_before_anything_is_loaded(more, processes, problem, tmp_path):
    done = lorabook("finetune", "--shard", *more, "--output", "x", env=os.environ | {"WORLD_SIZE": processes})
    assert done.returncode == 2 and problem in done.stderr and not done.stdout
    assert done.stderr.count("\n") == 1


@pytest.mark.seconds
def test_a_stray_rank_in_the_environment_means_nothing(tmp_path):
    """It is one of the variables of a launcher; alone it made a run that trained, saved nothing and ended well."""
    done = lorabook("finetune", *QUICK, "--output", str(tmp_path), env=os.environ | {"RANK": "1"})
    assert done.returncode == 0, done.stderr
    assert "held-out loss: " in done.stdout and (tmp_path / "adapter_model.safetensors").exists()
    local = lorabook("finetune", *QUICK, "--output", str(tmp_path / "2"), env=os.environ | {"LOCAL_RANK": "1"})
    assert local.returncode == 2 and "unset what a launcher left" in local.stderr and "Traceback" not in local.stderr


@pytest.mark.slow
def test_a_pipe_that_is_closed_and_letters_it_lacks_end_no_run(tmp_path):
    command = [sys.executable, "-m", "lorabook", "finetune", *QUICK, "--output", str(tmp_path / "out")]
    line = f"{shlex.join(command)} | head -2; echo ${{PIPESTATUS[0]}}"
    env = os.environ | {"PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=300, env=env)
    assert done.stdout.splitlines()[0::2] == ["loading: pocket, sample", "0"] and "Traceback" not in done.stderr
    assert (tmp_path / "out" / "adapter_model.safetensors").exists()
    whole = subprocess.run([*command[:-1], str(tmp_path / "whole")], capture_output=True, timeout=300, env=env)
    assert whole.returncode == 0 and whole.stdout.decode("cp1252").splitlines()[-3].startswith("held-out loss: ")


def test_an_argument_that_is_no_text_is_refused(tmp_path):
    command = [sys.executable, "-m", "lorabook", "ask", b"What is \xff?"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "no UTF-8 text" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--targets", "c_atn", "Did you mean c_attn? Choose among: c_attn, c_fc"),
        ("--targets", "q_proj", "'q_proj' matches no linear layer or embedding of pocket. Did you mean c_proj?"),
        ("--data", "nowhere.jsonl", "nowhere.jsonl does not exist. Give"),
        ("--data", "sampel", "Did you mean sample?"),
        ("--model", "./nowhere", "There is no folder"),
        ("--model", "poket", "Did you mean pocket?"),
        ("--held-out", "1.5", "held_out is 1.5"),
        ("--copy-to", "README.md", "README.md cannot be written"),
        ("--seed", "-1", "seed is -1"),
        ("--seed", "100000000000000000000", "seed is 1000"),
        ("--alpha", "1e308", "alpha"),
        ("--data", "nowhere.jsonl", "nowhere.jsonl does not exist"),
        ("--r", "1000000000", "rank"),
    ],
)
def test_what_can_be_checked_is_checked_before_a_model_is_loaded(option, value, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_load_model", lambda *_: pytest.fail("loaded a model"))
    monkeypatch.setattr(sys, "argv", ["lorabook", "finetune", "--output", str(tmp_path / "out"), option, value])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    error = capsys.readouterr().err
    assert exit.value.code == 2 and message in error and len(error.strip().splitlines()) == 1


@pytest.mark.seconds
def test_an_adapter_that_cannot_be_written_goes_elsewhere_and_the_place_is_named(tmp_path, monkeypatch, capsys):
    """A disk that fills up during training: save_file fails in the output folder alone."""
    out, spare = tmp_path / "out", tmp_path / "spare"
    write = files.write_tensors

    def full(path, *rest):
        if Path(path).parent == out:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        write(path, *rest)

    monkeypatch.setattr(adapter_file, "write_tensors", full)
    monkeypatch.setattr(cli.tempfile, "mkdtemp", lambda prefix: spare.mkdir() or str(spare))
    monkeypatch.setattr(sys, "argv", ["lorabook", "finetune", *QUICK, "--output", str(out)])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    error = capsys.readouterr().err
    assert exit.value.code == 2 and f"The adapter is in {spare} instead" in error and "No space left" in error
    model = load_model("pocket").model
    adapter_file.load(model, spare)
    assert not list(out.glob("adapter_*"))  # nothing half-written


@pytest.mark.seconds
def test_merge_tries_its_output_before_it_loads(trained, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(cli, "_load_model", lambda *_: pytest.fail("loaded a model"))
    out = str(tmp_path / "file" / "merged")
    monkeypatch.setattr(sys, "argv", ["lorabook", "merge", "--adapter", str(trained[0]), "--output", out])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 2 and "cannot be written" in capsys.readouterr().err


@pytest.mark.seconds
def test_a_merged_model_that_cannot_be_written_is_said_so(trained, tmp_path, monkeypatch, capsys):
    def full(self, folder):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", full)
    out = str(tmp_path / "merged")
    monkeypatch.setattr(sys, "argv", ["lorabook", "merge", "--adapter", str(trained[0]), "--output", out])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    error = capsys.readouterr().err
    assert exit.value.code == 2 and "No space left" in error and "the adapter is untouched" in error


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_of_two_runs_into_one_folder_the_second_is_refused_and_a_signal_saves_the_first(signum, tmp_path):
    command = ["finetune", "--output", str(tmp_path / "out"), *QUICK]
    first = processes.Started("-m", "lorabook", *command, "--steps", "5000")
    while not first.readline().startswith("step 10/5000"):
        assert first.poll() is None
    second = lorabook(*command, "--resume")
    assert second.returncode == 2 and "Another run is writing" in second.stderr
    first.send_signal(signum)
    printed, error = first.communicate(timeout=300)
    assert first.poll() == 130 and "stopped: interrupted, add --resume to go on" in printed, error
    assert (tmp_path / "out" / "adapter_model.safetensors").exists() and "Traceback" not in error


def test_an_interrupt_while_a_model_loads_takes_one_line(tmp_path, monkeypatch, capsys):
    def interrupt(*_, **more):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_load_model", interrupt)
    monkeypatch.setattr(sys, "argv", ["lorabook", "finetune", *QUICK, "--output", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 130 and capsys.readouterr().err.split() == ["lorabook:", "stopped."]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["finetune", "--help"], ["memory", STARCODER]])
def test_help_version_and_memory_do_without_pytorch(arguments):
    """Half a second instead of two."""
    code = "import sys; from lorabook.cli import app; app(standalone_mode=False); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "False", done.stderr


def test_the_held_out_loss_is_measured_once_before_training_and_once_after(tmp_path, monkeypatch):
    measured = []

    def measure(*arguments, **more):
        measured.append(answer_loss(*arguments, **more))
        return measured[-1]

    monkeypatch.setattr(loop, "answer_loss", measure)
    monkeypatch.setattr("lorabook.training.evaluate.answer_loss", lambda *_, **more: pytest.fail("measured again"))
    said = values(run("finetune", *QUICK, "--output", str(tmp_path)).stdout)
    assert said["held-out loss"] == " → ".join(f"{m.loss:.4f}" for m in measured) and len(measured) == 2


@pytest.mark.parametrize("switch", SWITCHES)
def test_an_engine_that_was_not_tested_is_refused_before_anything_is_loaded_or_written(tmp_path, monkeypatch, switch):
    monkeypatch.setenv(switch, "true")
    monkeypatch.setattr(cli, "_load_model", lambda *_: pytest.fail("loaded"))
    with pytest.raises(SettingError, match=rf"{switch} is set\), under which .*\. Use one process"):
        run("finetune", *QUICK, "--output", str(tmp_path / "out"))
    assert not any(tmp_path.iterdir())


def test_an_adapter_that_could_not_be_saved_is_refused_before_it_is_trained(tmp_path, monkeypatch, capsys):
    def lost(model):
        raise SettingError("PEFT would lose the update of x.", "Leave x out of targets.")

    monkeypatch.setattr(adapter_file, "check_savable", lost)
    monkeypatch.setattr("lorabook.training.loop.finetune", lambda *_, **more: pytest.fail("trained"))
    monkeypatch.setattr(sys, "argv", ["lorabook", "finetune", *QUICK, "--output", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code == 2 and "PEFT would lose" in capsys.readouterr().err


# workbook, version


def test_workbook_writes_the_notebooks_once_and_never_over_somebody_s_work(tmp_path, capsys, monkeypatch):
    folder = tmp_path / "new/my own"
    monkeypatch.setattr(sys, "argv", ["lorabook", "workbook", str(folder)])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code in (0, None)
    out = capsys.readouterr().out
    assert f"notebooks: {folder}, {len(PAGES)} files written, 0 there already\n" in out
    assert f"lorabook workbook {shlex.quote(str(folder))} --open\n" in out
    assert {path.name for path in folder.iterdir()} == {path.name for path in PAGES}
    assert (folder / GLOSSARY.name).read_bytes() == GLOSSARY.read_bytes()
    for path in NOTEBOOKS:
        assert [cell["source"] for cell in cells(folder / path.name)] == [cell["source"] for cell in cells(path)]
    (folder / NOTEBOOKS[0].name).unlink()
    (folder / NOTEBOOKS[1].name).write_text("my answers")
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code in (0, None)
    assert f"1 files written, {len(PAGES) - 1} there already" in capsys.readouterr().out
    assert (folder / NOTEBOOKS[1].name).read_text() == "my answers" and (folder / NOTEBOOKS[0].name).exists()


@pytest.mark.parametrize(("user", "more"), [(1000, []), (0, ["--allow-root"])])
def test_workbook_opens_the_first_notebook(user, more, tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(cli.os, "geteuid", lambda: user, raising=False)
    monkeypatch.setattr(cli, "find_spec", lambda name: name == "jupyterlab")
    monkeypatch.setattr(cli.os, "execve", lambda program, arguments, environment: started.append(arguments))
    run("workbook", str(tmp_path), "--no-open")
    assert started == []
    run("workbook", str(tmp_path), "--open")
    place = [f"--ServerApp.root_dir={tmp_path}", f"--LabApp.default_url=/lab/tree/{NOTEBOOKS[0].name}"]
    assert started == [[sys.executable, "-m", "jupyterlab", *more, *place]]


def test_the_opened_jupyterlab_saves_widgets_beside_the_settings_of_the_user(tmp_path, monkeypatch):
    own = tmp_path / "config" / "labconfig" / "default_setting_overrides.json"
    own.parent.mkdir(parents=True)
    own.write_text('{"@jupyterlab/apputils-extension:themes": {"theme": "JupyterLab Dark"}}')
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", str(own.parents[1]))
    environments = []
    monkeypatch.setattr(cli.os, "execve", lambda program, arguments, environment: environments.append(environment))
    run("workbook", str(tmp_path / "workbook"), "--open")
    monkeypatch.setenv("JUPYTER_CONFIG_PATH", environments[0]["JUPYTER_CONFIG_PATH"])
    overrides = ConfigManager(config_dir_name="labconfig").get("default_setting_overrides")  # as JupyterLab reads them
    assert overrides["@jupyter-widgets/jupyterlab-manager:plugin"]["saveState"] is True
    assert overrides["@jupyterlab/apputils-extension:themes"]["theme"] == "JupyterLab Dark"


def test_the_version_is_shown(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["lorabook", "--version"])
    with pytest.raises(SystemExit) as exit:
        cli.main()
    assert exit.value.code in (0, None) and capsys.readouterr().out == f"lorabook {__version__}\n"
