"""The exercises held against outside oracles, and answers that are no mistake of the bank: right ones and odd ones."""

import linecache
import signal
import time
from typing import Any

import loralib
import pytest
import torch
from torch import Tensor, nn
from transformers import GPTBigCodeConfig
from transformers.models.gpt_bigcode.modeling_gpt_bigcode import GPTBigCodeBlock

from lorabook import lora, merging
from lorabook.memory.dry_run import dry_run
from lorabook.memory.plan import Plan
from lorabook.workbook.exercises import EXERCISES
from lorabook.workbook.kit import exercise as kit
from lorabook.workbook.kit.exercise import Exercise, Mistake, cases, judge, same
from tests.workbook.mistake_bank import load, said

ANSWERS = {name: load(exercise.solution) for name, exercise in EXERCISES.items()}


def random(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# The solutions against oracles


@pytest.mark.parametrize(("hidden", "mlp", "heads"), [(2048, 8192, 16), (96, 500, 3)])
def test_block_values_are_what_autograd_keeps(hidden, mlp, heads):
    """The exercise leaves out statistics: two numbers for each norm, one for each head; and A x, r for each layer."""
    config = GPTBigCodeConfig(n_embd=hidden, n_inner=mlp, n_head=heads, attn_implementation="sdpa")
    block = GPTBigCodeBlock(config, layer_idx=0).eval()
    lora.apply_lora(block, lora.LoRAConfig(r=1, alpha=1))
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        if 7 in tensor.shape:  # tokens
            kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        block(torch.randn(1, 7, hidden, requires_grad=True))
    assert sum(kept.values()) / 7 - (4 + heads) - 4 == ANSWERS["block_values"](hidden, mlp, hidden // heads)


@pytest.mark.seconds
def test_largest_batch_is_the_last_whose_dry_run_fits():
    """StarCoderBase-1B with LoRA on a T4 with 1 GiB to spare, as the notebook says."""

    def peak(batch: int) -> int:
        return dry_run("bigcode/starcoderbase-1b", Plan(lora.LoRAConfig(r=16, alpha=32), batch=batch)).peak

    small, large = peak(4), peak(8)
    assert (f"{small / 2**30:.2f}", f"{large / 2**30:.2f}") == ("5.63", "8.90")
    available = 13.75 * 2**30
    n = ANSWERS["largest_batch"](4, small, 8, large, available)
    assert n == 13 and peak(n) <= available < peak(n + 1)


def test_lora_forward_and_merge_are_those_of_loralib():
    theirs = loralib.Linear(6, 5, r=2, lora_alpha=8, lora_dropout=0.0, bias=False)
    nn.init.normal_(theirs.lora_B)
    W, A, B, x = theirs.weight.detach().clone(), theirs.lora_A, theirs.lora_B, random(3, 4, 6)
    torch.testing.assert_close(ANSWERS["lora_forward"](x, W, A, B, 8, 0.0, True), theirs(x))
    merged = ANSWERS["lora_merge"](W, A, B, 8, False)
    theirs.eval()  # loralib merges here
    torch.testing.assert_close(merged, theirs.weight)
    assert ANSWERS["lora_merge"](merged, A, B, 8, True) is merged


def test_lora_forward_drops_where_the_library_does():
    layer = lora.LoRALinear(nn.Linear(6, 5, bias=False), lora.LoRAConfig(r=2, alpha=8, dropout=0.5)).train()
    nn.init.normal_(layer.B)
    layer.dropout = nn.Dropout(0.5)  # PyTorch's, so that both draw the same mask
    torch.manual_seed(0)
    expected = layer(x := random(9, 6))
    torch.manual_seed(0)
    torch.testing.assert_close(
        ANSWERS["lora_forward"](x, layer.base_layer.weight, layer.A, layer.B, 8, 0.5, True), expected
    )


def test_lora_merge_rounds_as_the_library_does():
    layer = lora.LoRALinear(nn.Linear(64, 48, bias=False).half(), lora.LoRAConfig(r=4, alpha=8))
    nn.init.normal_(layer.B)
    merged = ANSWERS["lora_merge"](layer.base_layer.weight, layer.A, layer.B, 8, False)
    merging.merge(layer)
    assert torch.equal(merged, layer.base_layer.weight)


def test_lora_embedding_is_that_of_loralib():
    theirs = loralib.Embedding(10, 4, r=3, lora_alpha=6)
    assert not theirs.lora_A.any() and theirs.lora_B.any()
    mine = ANSWERS["lora_embedding"](nn.Embedding.from_pretrained(theirs.weight.detach().clone()), 3, 6, 0.5)
    with torch.no_grad():
        mine.A.copy_(theirs.lora_A.normal_())
        mine.B.copy_(theirs.lora_B)
    tokens = torch.tensor([[0, 9, 4], [4, 4, 1]])
    torch.testing.assert_close(mine(tokens), theirs(tokens))


def test_tree_shapes_are_those_of_the_real_architecture():
    sizes = {"n_embd": 2048, "n_layer": 24, "n_head": 16, "n_inner": 8192, "n_positions": 8192, "vocab_size": 49152}
    from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

    with torch.device("meta"):
        model = GPTBigCodeForCausalLM(GPTBigCodeConfig(**sizes, bos_token_id=0, eos_token_id=0))
    both = {id(m.weight): m.weight.numel() for m in (model.transformer.wte, model.lm_head)}
    report = lora.apply_lora(model, lora.LoRAConfig(r=16, alpha=8, targets=("c_attn", "c_proj", "c_fc", "wte", "wpe")))
    block, wte = model.transformer.h[0], model.transformer.wte
    expected: dict[str, Any] = {"c_attn.weight": block.attn.c_attn.base_layer.weight.shape}
    for name, layer in (("c_attn", block.attn.c_attn), ("mlp.c_proj", block.mlp.c_proj), ("wte", wte)):
        expected |= {f"{name}.A": layer.A.shape, f"{name}.B": layer.B.shape}
    expected["modules hit by c_proj"] = sum(m.name.endswith(".c_proj") for m in report.modules)
    expected["modules adapted"] = len(report.modules)
    expected["parameters of wte and lm_head"] = sum(both.values())
    assert expected == ANSWERS["tree_shapes"] and list(expected) == list(ANSWERS["tree_shapes"])


# Other answers


def test_two_mistakes_at_once_are_told_one_after_the_other(capsys):
    def answer(x, W, A, B, alpha, p, training):
        return x @ W.T + alpha * (torch.nn.functional.dropout(x, p) @ A.T @ B.T)  # raw alpha, dropout always on

    assert "by α, not α/r" in said(capsys, "lora_forward", answer)
    fixed = lambda x, W, A, B, alpha, p, training: answer(x, W, A, B, alpha / len(A), p, training)  # noqa: E731
    assert "in evaluation too" in said(capsys, "lora_forward", fixed)


@pytest.mark.parametrize(
    ("name", "answer", "line"),
    [
        ("lora_size", lambda d, k, r: 7, "for d = 5, k = 3, r = 2 your code gives 7, expected 16."),
        ("lora_size", lambda d, k, r: None, "for d = 5, k = 3, r = 2 your code gives None. Is a `return` missing?"),
        ("lora_size", lambda d: d, "for d = 5, k = 3, r = 2 your code raised TypeError: "),
        ("lora_size", 1084, "give the function or class itself, not 1,084."),
        ("tree_shapes", [1], "give the dictionary itself, not [1]."),
        ("tree_shapes", {"c_attn.weight": (2304, 2048)}, "'c_attn.A' is still to be filled in."),
        ("tree_shapes", {"c_attn.weight": 3}, "'c_attn.weight' is not 3."),
        (
            "fwht",
            lambda x: x[:1],
            "gives a tensor of shape (1,) in float32, expected a tensor of shape (8,)",
        ),
        ("fwht", lambda x: 2 * x, "for 8 numbers in float32 your code gives 0.8067 at [6], expected 6.582."),
        ("lora_forward", lambda *a: 1 / 0, "your code raised ZeroDivisionError: division by zero (line "),
        ("lora_forward", lambda *a: torch.ones(2) @ torch.ones(3), "torch.ones(2) @ torch.ones(3)"),
        ("lora_forward", lambda *a: [][0], "your code raised IndexError: list index out of range"),
    ],
)
def test_an_unknown_mistake_is_shown_where_it_fails(name, answer, line, capsys):
    text = said(capsys, name, answer)
    assert text.startswith(f"✗ {name}: ") and line in text
    assert not any(m.message in text for m in EXERCISES[name].mistakes)


# The engine alone


def exercise_of(probe, reference, *mistakes: Mistake) -> Exercise:
    return Exercise("toy", "t.", "s", "h.", "s", "right.", reference, (probe,), mistakes)


def test_a_mistake_is_known_by_what_it_computes():
    toy = exercise_of(
        cases(lambda n: f"for n = {n}", (2,), (3,)), lambda n: n * n, Mistake("you doubled.", (lambda n: n + n,))
    )
    assert judge(toy, lambda n: n**2) == "✓ toy: right."
    assert judge(toy, lambda n: sum((n, n))) == "✗ toy: you doubled. For n = 3 your code gives 6, expected 9."
    assert judge(toy, lambda n: 4) == "✗ toy: for n = 3 your code gives 4, expected 9."  # 2 + 2 = 4 is not enough


@pytest.mark.parametrize(
    ("seen", "expected", "equal"),
    [
        (1.0000001, 1, True), (1.001, 1, False),
        (10**9 + 1, 10**9, False), (3.0, 3, True), (float("nan"), float("nan"), True), (float("nan"), 1.0, False),
        ([1, 2], [1, 2], True), (torch.tensor([1, 2]), [1, 2], True), ([1, 2], [1, 2, 3], False),
        (torch.ones(2), torch.ones(2) + 1e-6, True), (torch.ones(2), torch.ones(2) * 1.01, False),
        (torch.ones(2).double(), torch.ones(2), False), (torch.ones(2, 1), torch.ones(2), False),
        (torch.tensor([1.0, float("nan")]), torch.ones(2), False), (None, 0, False), ("1", 1, False),
        (torch.tensor([1.0]).half(), torch.tensor([1.001]).half(), False), ({"a": 1}, {"b": 1}, False),
    ],
)  # fmt: skip
def test_equal_but_for_rounding(seen, expected, equal):
    assert same(seen, expected) is equal


@pytest.mark.parametrize(
    ("seen", "expected", "equal"),
    [
        (torch.ones(2).double(), torch.ones(2), True),
        (torch.ones(2) + 1e-6, torch.ones(2).double(), True),  # fp32 answers carry fp32's rounding
        (torch.ones(2).double() + 1e-6, torch.ones(2).double(), False),
        (torch.ones(2).int(), torch.ones(2), False),
        ([torch.ones(2).double()], [torch.ones(2)], True),
    ],
)
def test_a_dtype_that_no_text_promises_is_free(seen, expected, equal):
    assert same(seen, expected, any_dtype=True) is equal
    assert {name for name, e in EXERCISES.items() if not e.any_dtype} >= {"lora_merge", "fwht"}


def cell(source: str) -> Any:
    """The answer of a cell as IPython compiles it: its lines can be looked up."""
    name = "<ipython-input-1>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    space: dict[str, Any] = {}
    exec(compile(source, name, "exec"), space)
    return space["answer"]


def test_an_exception_comes_with_the_reader_s_line():
    answer = cell("import torch\n\ndef answer(n):\n    x = torch.ones(n)\n    return x @ torch.ones(n + 1)\n")
    line = judge(exercise_of(cases(lambda n: f"for n = {n}", (2,)), lambda n: n), answer)
    assert line.startswith("✗ toy: for n = 2 your code raised RuntimeError: ")
    assert line.endswith("(line 5: return x @ torch.ones(n + 1))")


def test_the_smallest_input_is_shown():
    probe = cases(lambda n: f"for n = {n:,}", (1000,), (3,), (20,))
    assert judge(exercise_of(probe, lambda n: n), lambda n: n + (n > 2)) == (
        "✗ toy: for n = 3 your code gives 4, expected 3."
    )


@pytest.mark.seconds
@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN])
def test_an_endless_loop_ends(handler, monkeypatch):
    """Also in a program that ignores Ctrl-C, as one does that a script started in the background."""

    def endless(n):
        while True:
            n += 1

    monkeypatch.setattr(kit, "SECONDS", 0.3)
    before = signal.signal(signal.SIGINT, handler)
    try:
        line = judge(exercise_of(cases(lambda n: f"for n = {n}", (2,)), lambda n: n), endless)
        assert signal.getsignal(signal.SIGINT) == handler
        time.sleep(0.5)  # and nothing comes afterwards
    finally:
        signal.signal(signal.SIGINT, before)
    assert line == "✗ toy: your code was stopped after 0.3 seconds. Is there a loop that never ends?"


def test_an_interrupt_is_one_line():
    def interrupted(n):
        raise KeyboardInterrupt

    line = judge(exercise_of(cases(lambda n: f"for n = {n}", (2,)), lambda n: n), interrupted)
    assert line == "toy: stopped. Nothing was checked."
