"""The LoRA explorer without a browser: its pure functions over their whole range, and its counts against PEFT's."""

import re
import shlex
from collections import Counter
from dataclasses import asdict, replace
from functools import cache
from itertools import product

import pytest
import torch
import typer
from peft import LoraConfig, LoraModel
from torch import nn
from transformers import AutoModelForCausalLM, GPTBigCodeConfig, LlamaConfig
from typer.testing import CliRunner

from lorabook import cli
from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, apply_lora
from lorabook.memory.estimate import estimate
from lorabook.memory.plan import Plan
from lorabook.models import load_model
from lorabook.peft_format import adapter_file
from lorabook.sizes import size_text
from lorabook.workbook.kit.alive import at_peak
from lorabook.workbook.kit.models import MODELS
from lorabook.workbook.rank_and_alpha import explorer as lora
from lorabook.workbook.rank_and_alpha.explorer import ALPHAS, METHODS, PRESETS, LoRAExplorer, LoRAState

LLAMA, GPT3, TINY = "meta-llama/Llama-2-7b-hf", "GPT-3 175B", "bigcode/tiny_starcoder_py"
STARCODERS = {
    "pocket": (4096, 256, 4, 8, 512),
    TINY: (49152, 768, 20, 12, 8192),
    "bigcode/starcoderbase-1b": (49152, 2048, 24, 16, 8192),
}
TARGETS = {  # as the models call them in transformers; GPT-3's as the paper names its matrices
    "gpt_bigcode": ("wte", "wpe", "c_attn", "attn.c_proj", "c_fc", "mlp.c_proj", "lm_head"),
    "llama": ("embed_tokens", *(f"{n}_proj" for n in ("q", "k", "v", "o", "gate", "up", "down")), "lm_head"),
    "GPT-3": ("wte", "wpe", *(f"{n}_proj" for n in ("q", "k", "v", "out")), "c_fc", "c_proj", "lm_head"),
}


def family(model: str) -> str:
    return {LLAMA: "llama", GPT3: "GPT-3"}.get(model, "gpt_bigcode")


@cache
def on_meta(model: str) -> nn.Module:
    """The model itself, built by transformers without memory; of GPT-3 all that has weights, built by hand."""
    with torch.device("meta"):
        if model == GPT3:
            return gpt3()
        if model == LLAMA:
            config = LlamaConfig(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32)
        else:
            names = ("vocab_size", "n_embd", "n_layer", "n_head", "n_positions")
            config = GPTBigCodeConfig(**dict(zip(names, STARCODERS[model])), bos_token_id=0, eos_token_id=0)
        return AutoModelForCausalLM.from_config(config)


def gpt3(h: int = 12288) -> nn.Module:
    """Weights of GPT-3 175B: Brown et al. 2020, table 2.1; four square attention matrices as in Hu et al. 2021."""

    def one_block() -> nn.Module:
        attention = nn.ModuleDict({name: nn.Linear(h, h) for name in ("q_proj", "k_proj", "v_proj", "out_proj")})
        mlp = nn.ModuleDict({"c_fc": nn.Linear(h, 4 * h), "c_proj": nn.Linear(4 * h, h)})
        return nn.ModuleDict({"ln_1": nn.LayerNorm(h), "attn": attention, "ln_2": nn.LayerNorm(h), "mlp": mlp})

    body = {"wte": nn.Embedding(50257, h), "wpe": nn.Embedding(2048, h), "ln_f": nn.LayerNorm(h)}
    blocks = nn.ModuleList([one_block() for _ in range(96)])
    head = nn.Linear(h, 50257, bias=False)
    head.weight = body["wte"].weight
    return nn.ModuleDict({"transformer": nn.ModuleDict({**body, "h": blocks}), "lm_head": head})


def told(state: LoRAState) -> str:
    """All that the explorer says, what folds out included."""
    copied = "\n".join(f"{name}: {text}" for name, text in lora.to_copy(state).items())
    return f"{lora.readout(state)}\n{lora.details(state)}\n{copied}"


def line(state: LoRAState, start: str) -> str:
    """What follows `start` in the one line of the readout that begins with it."""
    (found,) = [text for text in told(state).splitlines() if text.startswith(start)]
    return found.removeprefix(start).strip()


def number(text: str) -> int:
    return int(text.replace(",", ""))


def parts_told(state: LoRAState) -> dict[str, tuple[int, int]]:
    """Modules and parameters in each, by target, as the readout has them."""
    parts = re.findall(r"(\S+) ([\d,]+) × ([\d,]+)", line(state, "Modules × parameters in each:"))
    return {target: (number(count), number(each)) for target, count, each in parts}


EVERY_TARGET = [LoRAState(model, 3, targets=TARGETS[family(model)]) for model in MODELS.values()]
ONE_TWIN = [LoRAState("pocket", targets=("attn.c_proj",)), LoRAState("pocket", targets=("c_attn", "mlp.c_proj"))]


@pytest.mark.seconds
@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings")
@pytest.mark.parametrize("state", [*PRESETS.values(), *EVERY_TARGET, *ONE_TWIN])
def test_the_line_for_peft_is_a_config_with_which_peft_counts_the_same(state):
    config = eval(line(state, "PEFT:"), {"LoraConfig": LoraConfig})
    peft_model = LoraModel(on_meta(state.model), config, "default")
    try:
        trained = sum(p.numel() for p in peft_model.parameters() if p.requires_grad)
        total = sum(p.numel() for p in peft_model.parameters())
        adapted = [name for name, module in peft_model.model.named_modules() if "default" in getattr(module, "r", {})]
    finally:
        peft_model.unload()
    assert f"{trained:,} of {total:,} parameters trained, {100 * trained / total:.4f}%." in told(state)
    assert (config.r, config.lora_alpha, config.task_type) == (state.r, state.alpha, "CAUSAL_LM")
    counted = parts_told(state)
    assert sum(count * each for count, each in counted.values()) == trained
    hits = Counter(next(t for t in state.targets if name == t or name.endswith("." + t)) for name in adapted)
    assert {target: count for target, (count, _) in counted.items()} == hits


def test_the_presets_read_what_the_article_and_the_paper_have():
    article, paper = PRESETS["the article's"], PRESETS["the paper's GPT-3"]
    assert "12,091,392 of 1,149,298,688 parameters trained, 1.0521%" in told(article)
    assert "α/r = 8/16 = 0.5." in told(article)
    assert "--targets wte,wpe,c_attn,c_proj,c_fc " in told(article)
    assert "The target c_proj means both attn.c_proj and mlp.c_proj." in told(article)
    assert "18,874,368 of" in told(paper) and "36.0 MiB in fp16" in told(paper)
    # 100 tasks: 354 GB against 35 TB (Hu et al. 2021, footnote 4)
    base, trained = sum(p.numel() for p in on_meta(GPT3).parameters()), 18_874_368
    one, many = 2 * base + 100 * 2 * trained, 100 * 2 * base
    assert one / 1e9 == pytest.approx(354, rel=0.01) and many / 1e12 == pytest.approx(35, rel=0.01)
    files = line(paper, "Adapter file:")
    assert f"{size_text(many)} as copies" in files and f"({size_text(one)} with adapters in fp16)" in files
    assert LoraConfig().r == PRESETS["PEFT's default"].r and LoraConfig().lora_alpha == PRESETS["PEFT's default"].alpha


def test_the_adapter_file_has_the_size_told(tmp_path):
    state = LoRAState("pocket", 8, targets=("wte", "c_attn", "mlp.c_proj"))
    model = load_model("pocket", device="cpu").model
    report = apply_lora(model, LoRAConfig(r=8, targets=state.targets))
    adapter_file.save(model, tmp_path)
    names = (tmp_path / adapter_file.WEIGHTS_NAME).stat().st_size - 4 * report.trainable
    assert 0 < names < 16 * 1024
    assert line(state, "Adapter file:").startswith(f"{size_text(4 * report.trainable)} in fp32")


# Memory

RANGE = [
    LoRAState(model, r, 1, TARGETS[family(model)][first:], method)
    for model, r, first, method in product(MODELS.values(), (1, 64, 512), (0, 2), METHODS.values())
]


def plan(state: LoRAState, **changes) -> Plan:
    method = 1.0 if state.method == "full" else LoRAConfig(state.r, state.alpha, targets=state.targets)
    weights = "nf4" if state.method == "lora4" else state.weights
    settings = {"method": method, "weights": weights, "optimizer": state.optimizer, "batch": state.batch}
    return Plan(**settings | {"sequence": state.sequence, "checkpointing": state.checkpointing} | changes)


@pytest.mark.parametrize("model", MODELS.values())
def test_every_state_is_shown_and_told_as_the_estimate_has_it(model):
    for state in (*[s for s in RANGE if s.model == model], *[s for s in PRESETS.values() if s.model == model]):
        books = [estimate(model, plan(state, method=1.0, weights=state.weights))]
        if state.method != "full":
            books.append(estimate(model, plan(state)))
        bars = lora.shown(state)["bars"]
        assert list(bars.values()) == [at_peak(book) for book in books]
        assert next(iter(bars)) == "full fine-tuning"
        peak = books[-1].predicted_peak
        assert line(state, "Peak:").startswith(f"{size_text(peak)} with AdamW, ")
        others = plan(replace(state, r=2 * state.r)), plan(state, batch=2 * state.batch)
        more = [estimate(model, other).predicted_peak - peak for other in others]
        r, rows = (f"+{size_text(size)}" if size else "nothing" for size in more)
        assert f"What doubling adds to the peak: α nothing, r {r}, the batch {rows}." in told(state)


def test_alpha_moves_the_scaling_and_not_one_byte():
    for state in PRESETS.values():
        books, others = set(), set()
        for alpha in ALPHAS.values():
            moved = replace(state, alpha=alpha)
            books.add(str(asdict(lora.estimated(moved, state.method))))
            text = told(moved)
            assert f"Scaling α/r = {alpha}/{state.r} = {alpha / state.r:.4g}." in text
            others.add(re.sub(r"Scaling .*|lora_alpha=\d+|--alpha \d+", "", text))
        assert len(books) == len(others) == 1


@pytest.mark.parametrize("r", [64, 128, 142, 143, 256, 384, 512])
def test_it_names_the_modules_past_their_break_even_rank_and_past_full_rank(r):
    """Counted on the weights: LoRA's r (d + k) against the matrix's d k."""
    state = LoRAState("pocket", r, targets=TARGETS["gpt_bigcode"])
    layers = on_meta("pocket").named_modules
    weights = {t: next(m.weight for n, m in layers() if n.endswith(t)) for t in state.targets}
    past = {t for t, w in weights.items() if r * sum(w.shape) > w.numel()}
    text = told(state)
    past_told = re.search(r"Past the break-even rank d·k/\(d \+ k\): (.*?)\. There", text)
    found = re.findall(r"(\S+) \((\d+)\)", past_told[1]) if past_told else []
    assert {target for target, _ in found} == past
    assert [int(rank) for _, rank in found] == sorted(int(rank) for _, rank in found)
    capped = re.search(r"rank above min\(d, k\): (.*)\.", text)
    names = set(re.findall(r"(\S+) \(", capped[1])) if capped else set()
    assert names == {t for t, w in weights.items() if r > min(w.shape)}


# Lines to copy

COPIED = [*PRESETS.values(), LoRAState(method="full", optimizer="sgd"), LoRAState("pocket", checkpointing=True)]


@pytest.mark.parametrize("state", COPIED)
def test_the_command_predicts_the_peak_that_the_explorer_shows(state):
    words = shlex.split(line(state, "To predict this peak:"))
    assert words[:2] == ["lorabook", "memory"]
    result = CliRunner().invoke(cli.app, [*words[1:], "--bytes"], catch_exceptions=False)
    assert result.exit_code == 0
    peak = number(re.search(r"predicted peak: ([\d,]+)", result.output)[1])
    assert line(state, "Peak:").startswith(f"{size_text(peak)} with")
    trained = re.search(r"trainable parameters: ([\d,]+)", result.output)[1]
    assert trained in told(state).splitlines()[0]


def test_a_command_to_train_is_there_where_lorabook_can():
    for state in COPIED:
        assert ("lorabook finetune" in told(state)) == (state.method == "lora" and state.model != GPT3)


@pytest.mark.parametrize("state", [s for s in COPIED if "lorabook finetune" in told(s)])
def test_the_command_trains_what_the_explorer_shows(state):
    words = shlex.split(line(state, "To train:"))
    command = typer.main.get_command(cli.app).commands["finetune"]
    options = command.make_context("finetune", words[2:]).params
    assert words[:2] == ["lorabook", "finetune"] and options["model"] == state.model
    assert (options["r"], options["alpha"]) == (state.r, state.alpha)
    matched = estimate(state.model, Plan(LoRAConfig(state.r, targets=tuple(options["targets"].split(",")))))
    assert f"{matched.trainable:,} of" in told(state)
    assert (options["max_length"], options["micro_tokens"]) == (state.sequence, state.batch * state.sequence)


# The widget


@pytest.fixture(scope="module")
def explorer() -> LoRAExplorer:
    return LoRAExplorer()


class TestWidget:
    @pytest.mark.parametrize("model", MODELS.values())
    def test_the_boxes_are_the_modules_of_the_model(self, explorer, model):
        leaves = [n for n, m in on_meta(model).named_modules() if isinstance(m, (nn.Linear, nn.Embedding))]
        hits = {t: sum(n == t or n.endswith("." + t) for n in leaves) for t in TARGETS[family(model)]}
        assert sum(hits.values()) == len(leaves)
        boxes = explorer.controls["targets"].options[model]
        assert boxes == {f"{target} ×{count}": target for target, count in hits.items()}

    def test_targets_of_another_model_are_refused(self, explorer):
        with pytest.raises(SettingError, match=r"targets is .*Choose among 'embed_tokens', 'q_proj'"):
            explorer.state = replace(LoRAState(), model=LLAMA)
        assert explorer.state == PRESETS["a high rank"]

    def test_without_a_target_it_says_so(self, explorer):
        assert "No target module is ticked. LoRA needs at least one" in explorer.shown(LoRAState(targets=()))["error"]
        assert "error" not in explorer.shown(LoRAState(targets=(), method="full"))  # needs none


def test_what_a_higher_rank_costs_is_what_03_says():
    def peak(r: int = 16, alpha: float = 32, batch: int = 4) -> int:
        plan = Plan(LoRAConfig(r=r, alpha=alpha), batch, sequence=512, weights="fp16")
        return estimate("bigcode/starcoderbase-1b", plan).predicted_peak

    assert 1 < peak(r=32) / peak() < 1.03
    assert round(peak(r=256) / peak(), 1) == 1.4 and peak(r=256) < peak(batch=8)
    assert peak(alpha=64) == peak()
