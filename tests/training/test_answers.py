"""Answers against greedy decoding by hand, sampled ones by their seed, and code that is counted but never run."""

import math
import random
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from transformers import GenerationMixin, LlamaConfig

from lorabook.data.examples import encode, encode_prompt
from lorabook.data.stackoverflow import load
from lorabook.errors import DataError, SettingError
from lorabook.models import load_model
from lorabook.models.attention import EXPANDED, attention_for, refuse_padding
from lorabook.training.answers import Answer, AnswerQuality, ParseShare, answer, answers, parse_share
from tests.kit.families import LLAMA_SIZES, build, gpt_bigcode
from tests.kit.logs import logged
from tests.kit.text import TEXT, pair, tokenizer

T4 = (7, 5)


def llama_writer() -> LlamaConfig:
    sizes = {"vocab_size": 300, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0}
    return LlamaConfig(**(LLAMA_SIZES | sizes))


def writer(positions: int = 64, **changes) -> nn.Module:
    return gpt_bigcode(vocab_size=300, n_positions=positions, **changes)


@torch.no_grad()
def by_hand(model: nn.Module, ids: list[int], new: int) -> list[int]:
    """Greedy decoding, the whole sequence anew for every token."""
    start = len(ids)
    for _ in range(new):
        ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
    return ids[start:]


def decode(ids: list[int]) -> str:
    return tokenizer().decode(ids).strip("\n")


@pytest.mark.parametrize("question", [TEXT[0], "word " * 300])
def test_a_greedy_answer_is_the_most_likely_token_again_and_again(question):
    model = writer()
    found = answer(model, tokenizer(), pair(question), max_new_tokens=10)
    assert found == decode(by_hand(model, encode_prompt(pair(question), tokenizer(), 54), 10)) != ""


def test_an_answer_is_heard_while_it_is_written():
    pieces, model = [], writer()
    whole = answer(model, tokenizer(), pair(), max_new_tokens=12, on_text=pieces.append)
    assert "".join(pieces).strip("\n") == whole and len([piece for piece in pieces if piece]) > 1
    assert whole == answer(model, tokenizer(), pair(), max_new_tokens=12)


def test_the_models_own_generation_settings_do_not_take_part():
    model, other = writer(), writer()
    for name, value in {"do_sample": True, "repetition_penalty": 1.5, "max_length": 30, "top_p": 0.1}.items():
        setattr(other.generation_config, name, value)
    kept = other.generation_config.to_dict()
    for temperature in (0.0, 0.8):
        texts = [answer(m, tokenizer(), pair(), max_new_tokens=12, temperature=temperature) for m in (model, other)]
        assert texts[0] == texts[1]
    assert other.generation_config.to_dict() == kept


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_repeats_and_leaves_random_state_and_mode_alone(temperature):
    model = writer(resid_pdrop=0.5).train()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    first = answer(model, tokenizer(), pair(), max_new_tokens=12, temperature=temperature)
    assert model.training and torch.equal(before[0], torch.get_rng_state())
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
    torch.rand(3)
    assert answer(model.eval(), tokenizer(), pair(), max_new_tokens=12, temperature=temperature) == first
    assert not model.training


@pytest.mark.parametrize("attention", ["sdpa", EXPANDED])
@pytest.mark.parametrize("family", ["gpt_bigcode", "llama"])
def test_answers_in_batches_are_those_of_one_at_a_time_in_the_order_asked(family, attention):
    """Also where the attention for a T4, which hears of no mask, would take padding for text."""
    attention_for("cuda", T4)
    model = writer() if family == "gpt_bigcode" else build(llama_writer())
    model.set_attn_implementation(attention)
    refuse_padding(model)
    asked = [pair(question) for question in ("word " * 300, *TEXT, "x")]
    alone = [answers(model, tokenizer(), [question], max_new_tokens=12)[0] for question in asked]
    for batch_tokens in (1, 3 * 64, 8192):
        assert answers(model, tokenizer(), asked, max_new_tokens=12, batch_tokens=batch_tokens) == alone
    assert len({a.text for a in alone}) > 2 and model.config._attn_implementation == attention
    assert answers(model, tokenizer(), [], max_new_tokens=12) == []


@pytest.mark.seconds
def test_the_pocket_model_answers_in_batches_as_one_at_a_time():
    """Sixteen real prompts of many lengths, of which some answers end before others."""
    loaded = load_model("pocket", device="cpu")
    asked, tokenizer = load("sample", rows=60).pairs[:16], loaded.tokenizer
    first = [a.text for a in answers(loaded.model, tokenizer, asked, max_new_tokens=24)]
    ends = Counter(t for text in first for t in set(tokenizer(text).input_ids[4:20]))
    end = next(t for t, count in ends.most_common() if 4 <= count <= 12)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(end)
    alone = [answers(loaded.model, tokenizer, [question], max_new_tokens=24)[0] for question in asked]
    assert answers(loaded.model, tokenizer, asked, max_new_tokens=24) == alone
    assert {a.ended for a in alone} == {True, False} and len({a.tokens for a in alone}) > 3


def test_a_batch_is_no_larger_than_its_tokens_allow(monkeypatch):
    model, shapes, generate = writer(), [], GenerationMixin.generate
    monkeypatch.setattr(
        GenerationMixin, "generate", lambda self, ids, **more: shapes.append(ids.shape) or generate(self, ids, **more)
    )
    asked = [pair("word " * count) for count in (40, 1, 2, 3, 40, 40)]
    answers(model, tokenizer(), asked, max_new_tokens=12, batch_tokens=120)
    assert sum(rows for rows, _ in shapes) == 6 and max(rows for rows, _ in shapes) > 1
    assert all(rows == 1 or rows * (longest + 12) <= 120 for rows, longest in shapes)
    assert all(a <= b for (_, a), (_, b) in pairwise(shapes))


def test_an_answer_says_whether_it_ended_by_itself_and_how_long_it_is():
    model = writer()
    ids = by_hand(model, encode_prompt(pair(), tokenizer(), 54), 10)
    last = next(i for i in range(3, 10) if ids[i] not in ids[:i])
    other_end = tokenizer.__wrapped__()
    other_end.add_special_tokens({"eos_token": other_end.convert_ids_to_tokens(ids[last])})
    both = answers(model, other_end, [pair(), pair(TEXT[1])], max_new_tokens=10)
    assert both[0] == Answer(decode(ids[:last]), last, True)
    (cut,) = answers(model, tokenizer(), [pair()], max_new_tokens=10)
    assert (cut.tokens, cut.ended) == (10, False)


def test_an_answer_by_a_chat_template_follows_on_the_prompt_of_training_and_ends_with_its_turn(monkeypatch):
    model, chat, said = writer(), tokenizer.__wrapped__(), []
    chat.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    end, words = chat.convert_tokens_to_ids("<|im_end|>"), tokenizer()("sorted").input_ids
    chat.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}<|im_end|>{% endfor %}<assistant>"

    def generate(ids, **more):
        said.append((ids[0].tolist(), model.generation_config.eos_token_id))
        return torch.cat([ids, torch.tensor([[*words, end, 40]])], dim=1)

    monkeypatch.setattr(model, "generate", generate)
    assert answers(model, chat, [pair("x")], 10, chat_template=True) == [Answer("sorted", len(words), True)]
    assert answer(model, chat, pair("x"), 10, chat_template=True) == "sorted"
    example = encode(pair("x"), chat, 512, chat_template=True)
    assert said == 2 * [(list(example.input_ids[: example.answer_start]), end)]
    assert example.input_ids[-1] == end != chat.eos_token_id
    assert answers(model, chat, [pair("x")], 10)[0].ended is False and said[-1][1] == chat.eos_token_id


@pytest.mark.parametrize("temperature", [1e-40, -1.0, math.inf, math.nan])
def test_a_temperature_that_cannot_be_divided_by_is_refused(temperature):
    with pytest.raises(SettingError, match="temperature is"):
        answer(writer(), tokenizer(), pair(), temperature=temperature)


def test_a_tokenizer_without_an_end_token_is_refused():
    endless = tokenizer.__wrapped__()
    endless.eos_token = None
    with pytest.raises(DataError, match="no end token"):
        answer(writer(), endless, pair())
    with pytest.raises(DataError, match="no end token"):
        encode(pair(), endless, 64)


def test_sampled_answers_follow_the_seed():
    model = writer()
    texts = {answer(model, tokenizer(), pair(), max_new_tokens=12, temperature=1.0, seed=seed) for seed in range(4)}
    assert len(texts) == 4


@pytest.mark.parametrize(("new", "limit"), [(160, None), (160, 40), (5, None)])
def test_prompt_and_answer_fit_the_positions(new, limit):
    """The model has no more positions, so a longer sequence would be an index error."""
    model, lengths = writer(), []
    model.transformer.wpe.register_forward_pre_hook(lambda _, args: lengths.append(int(args[0].max()) + 1))
    answer(model, tokenizer(), pair("word " * 300), max_new_tokens=new, max_length=limit)
    expected = limit or 64
    assert max(lengths) == expected - 1  # the last token written is not read again
    assert lengths[0] == expected - min(new, expected // 2)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_an_answer_says_nothing_besides(temperature, capfd, recwarn):
    with logged() as said:
        answer(writer(), tokenizer(), pair("word " * 300), temperature=temperature)
    assert said == [] and recwarn.list == [] and capfd.readouterr() == ("", "")


def fenced(code: str) -> str:
    return f"Try this:\n\n```\n{code}\n```\n\nThat is all."


PARSED = {
    "three lines": ("a = 1\nb = 2\nprint(a + b)", True),
    "two lines": ("a = 1\nb = 2", False),
    "two lines and a comment": ("a = 1\n# then\n\nb = 2", False),
    "a function of two lines": ("def f(x):\n    y = x\n    return y", True),
    "prose": ("just some words\nand more\nof them", False),
    "a broken line": ("a = 1\nb = 2\nc = 3\nd = (", False),
    "Python 2": ("a = 1\nb = 2\nprint a\nc = 3", False),
    "a null byte": ("a = 1\nb = 2\nc = '\0'", False),
    "the same line again and again": ("import os\n" * 20 + "import sys\nimport re", False),
    "one statement three times": ("import os\n" * 3, False),
    "a line twice in good code": ("a = 1\nb = 2\na = 1\nprint(a, b)", True),
    "too deep": ("a = 1\nb = 2\nc = " + "(" * 5000 + ")" * 5000, False),
    "an odd escape": ("a = '\\d'\nb = 1 is 1\nc = 3", True),
}


@pytest.mark.parametrize("name", PARSED)
def test_what_counts_as_code_that_parses(name, recwarn, capfd):
    code, expected = PARSED[name]
    assert parse_share([fenced(code)]) == ParseShare(int(expected), 1)
    assert recwarn.list == [] and capfd.readouterr() == ("", "")


def test_code_from_a_post_is_never_run(tmp_path):
    target = tmp_path / "written"
    code = f"import pathlib\ntarget = pathlib.Path({str(target)!r})\ntarget.write_text('ran')\nraise SystemExit"
    assert parse_share([fenced(code)]) == ParseShare(1, 1)
    assert not target.exists()
    exec(code.removesuffix("raise SystemExit"), {})  # it would have
    assert target.exists()


def test_every_answer_is_in_the_denominator_and_counts_once():
    good, short = PARSED["three lines"][0], PARSED["two lines"][0]
    answers = [fenced(good) + fenced(good), good, fenced(short) + fenced(short), "", fenced("x = (") + fenced(good)]
    assert parse_share(answers) == ParseShare(2, 5) and str(parse_share(answers)) == "2 of 5"
    assert str(parse_share([])) == "0 of 0"


def test_a_block_that_is_never_closed_does_not_count():
    good = PARSED["three lines"][0]
    assert parse_share([f"```\n{good}", f"```\n{good}\n```\nand\n```\nx ="]) == ParseShare(1, 2)


def test_the_quality_of_answers_is_counted_not_judged():
    loop = "so it goes on and " * 4  # 20 words, 17 runs of four, of which the first 5 are new
    written = [
        Answer(fenced(PARSED["three lines"][0]), 30, True),
        Answer(loop, 50, False),
        Answer("a b c", 3, True),
        Answer("", 1, True),
    ]
    found = AnswerQuality.of(written)
    assert (found.answers, found.ended, found.code, found.tokens) == (4, 0.75, 0.25, 21.0)
    assert found.repetition == pytest.approx((1 - 5 / 17) / 4)
    with pytest.raises(DataError, match="no answers"):
        AnswerQuality.of([])
