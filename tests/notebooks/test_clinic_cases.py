"""Notebook 08: what to run before a case that is looked up. And what its page says."""

import ast
import builtins
import re
from copy import deepcopy

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from lorabook import LoRAConfig, apply_lora, lora_layers, merge, remove
from lorabook.diagnosis.findings import report
from lorabook.models import load_model
from lorabook.peft_format import adapter_file
from tests.kit.broken_runs.faults import load_adapter
from tests.kit.notebooks import NOTEBOOKS, cells, plain

SETUP = "A healthy run"
MORE = {"Case 4: worse after merging": "What merging does"}
IDS = torch.arange(5, 25)[None]


def code_by_section() -> dict[str, str]:
    """The code below each heading."""
    found: dict[str, str] = {}
    section = ""
    for cell in cells(NOTEBOOKS[8]):
        if cell["cell_type"] == "markdown":
            for heading in re.findall(r"^##+ (.+)$", cell["source"], re.MULTILINE):
                section = plain(heading)
        elif section:
            found[section] = found.get(section, "") + cell["source"] + "\n"
    return found


def names(code: str) -> tuple[set[str], set[str]]:
    """The names that the code binds, and those that it reads."""
    bound, read = set(), set()
    for node in ast.walk(ast.parse(code)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                bound.add(name)
            case ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case ast.alias(name=name, asname=other):
                bound.add(other or name.split(".")[0])
    return bound, read


CODE = code_by_section()
CASES = [section for section in CODE if re.search(r"[Cc]ases? \d", section)]


def test_there_are_ten_cases():
    numbers = []
    for case in CASES:
        first, last = re.search(r"[Cc]ases? (\d+)(?: and (\d+))?", case).groups()
        numbers += range(int(first), int(last or first) + 1)
    assert numbers == list(range(1, 11))


@pytest.mark.parametrize("case", CASES)
def test_a_case_needs_the_healthy_run_and_what_the_table_names(case):
    known, _ = names(CODE[SETUP] + CODE.get(MORE.get(case), ""))
    bound, read = names(CODE[case])
    assert read - bound - known - set(dir(builtins)) == set()


def test_the_first_table_shows_answers_that_cases_3_and_4_print():
    first = cells(NOTEBOOKS[8])[0]["source"]
    printed = {cell["id"]: str(cell["outputs"]) for cell in cells(NOTEBOOKS[8]) if cell["cell_type"] == "code"}
    endless, merged = re.findall(r"`(.+?)`", first)
    assert endless in printed["never-b"] and merged in printed["merge-b2"]


def blocks(section: str) -> list[str]:
    """What stands between fences in a section of the page."""
    page = (NOTEBOOKS[8].parent / "more_clinic.md").read_text("utf-8")
    text = page.split(f"## {section}\n")[1].split("\n## ")[0]
    return [block.removeprefix("python") for block in text.split("```")[1::2]]


def test_the_page_s_first_step_of_adamw_prints_what_it_shows_and_is_adamw_s(capsys):
    code, output = blocks("AdamW in fp16")
    page: dict = {}
    exec(code, page)
    assert capsys.readouterr().out.strip() == output.strip()
    for dtype in (torch.float32, torch.float16):
        for gradient in (0.0, 0.001, -0.02):
            parameter = torch.nn.Parameter(torch.zeros(1, dtype=dtype))
            parameter.grad = torch.tensor([gradient], dtype=dtype)
            torch.optim.AdamW([parameter], lr=1.0, weight_decay=0.0).step()
            expected = page["first_step"](gradient, dtype)
            torch.testing.assert_close(-parameter.item(), expected, rtol=0.02, atol=1e-6, equal_nan=True)


def test_what_fp16_rounds_to_zero():
    """The page's figures: where rounding to zero ends, and which gradients survive."""
    assert torch.finfo(torch.float16).smallest_normal / 2**10 == pytest.approx(6e-8, rel=0.01)
    rounded = torch.tensor([2.9e-8, 3e-8, 1e-8, 0.001 * 0.001**2, 0.001 * 0.0053**2, 0.001 * 0.0056**2]).half()
    assert (rounded > 0).tolist() == [False, True, False, False, False, True]
    in_bf16 = torch.tensor([1e-8, 0.001 * 0.001**2]).bfloat16()
    assert in_bf16.tolist() == pytest.approx([1e-8, 1e-9], rel=0.01)


def trained_a_little() -> torch.nn.Module:
    """The pocket model with LoRA whose B is not zero."""
    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(r=16, alpha=32))
    for _, layer in lora_layers(model):
        torch.nn.init.normal_(layer.B, std=0.02)
    return model


def test_peft_adds_the_update_of_a_merged_model_again_too(tmp_path):
    """What case 4 says of PEFT, and that the fault `load_adapter` does the same."""
    model = trained_a_little()
    folder = adapter_file.save(model, tmp_path, base_name="pocket")
    merged, twice = deepcopy(model), load_model("pocket", device="cpu").model
    merge(merged)
    remove(merged)
    with torch.no_grad():
        for name, layer in lora_layers(model):
            twice.get_submodule(name).weight += 2 * layer.delta()
    expected = twice(input_ids=IDS).logits
    by_peft = PeftModel.from_pretrained(deepcopy(merged), folder)(input_ids=IDS).logits
    torch.testing.assert_close(by_peft, expected, atol=1e-4, rtol=0)
    assert (merged(input_ids=IDS).logits - expected).abs().max() > 0.01
    load_adapter(merged, folder)
    torch.testing.assert_close(merged(input_ids=IDS).logits, expected, atol=1e-4, rtol=0)


@pytest.fixture
def without_prefix(tmp_path):
    """An adapter whose names have lost PEFT's prefix."""
    file = adapter_file.save(trained_a_little(), tmp_path, base_name="pocket") / adapter_file.WEIGHTS_NAME
    save_file({name.removeprefix(adapter_file.PREFIX): tensor for name, tensor in load_file(file).items()}, file)
    return tmp_path


def test_the_doctor_says_what_its_page_prints(without_prefix):
    (printed,) = (block.strip().splitlines() for block in blocks("The doctor"))
    said = report(without_prefix)
    assert said[: len(printed)] == printed
    assert all(line.startswith("cannot be told, ") for line in said[len(printed) :]) and len(said) > len(printed)


def test_peft_warns_of_names_that_it_does_not_expect_and_computes_as_the_base(without_prefix):
    base = load_model("pocket", device="cpu").model
    before = base(input_ids=IDS).logits
    with pytest.warns(UserWarning, match="Found missing adapter keys while loading the checkpoint"):
        loaded = PeftModel.from_pretrained(base, without_prefix)
    assert torch.equal(loaded(input_ids=IDS).logits, before)


def test_what_trainer_logs_without_labels(tmp_path):
    """Case 2: a loss and a gradient norm of 0, where a loop of one's own shows NaN."""
    from transformers import Trainer, TrainingArguments

    model = load_model("pocket", device="cpu").model
    apply_lora(model, LoRAConfig(r=2, alpha=4))
    example = {"input_ids": [5, 6, 7], "labels": [-100] * 3}
    batch = {name: torch.tensor([ids]) for name, ids in example.items()}
    assert model(**batch).loss.isnan()
    options = {"max_steps": 2, "logging_steps": 1, "report_to": [], "use_cpu": True, "disable_tqdm": True}
    trainer = Trainer(model, TrainingArguments(str(tmp_path), **options), train_dataset=[example] * 16)
    trainer.train()
    logged = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert [(entry["loss"], entry["grad_norm"]) for entry in logged] == [(0, 0)] * 2
