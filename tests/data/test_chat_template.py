"""Prompts by a chat template, held against the tokenizer's own `apply_chat_template`."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import processors

from lorabook.data.chat_template import end_of_turn
from lorabook.data.examples import Message, Pair, encode, encode_all, encode_prompt, end_token
from lorabook.data.markup import Markup
from lorabook.data.own_rows import own_pairs
from lorabook.errors import DataError, SettingError
from tests.kit import text
from tests.kit.text import END

CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
HEADERS = (  # writes the first token itself, trims, and ends turns by another token than the tokenizer's end token
    "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}<|im_start|>\n\n{{ m.content | trim }}<|im_end|>"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant<|im_start|>\n\n{% endif %}"
)
WORDS = (
    "{% for m in messages %}### {{ m.role }}:\n{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant:\n{% endif %}"
)
TAILS = {  # what follows on a question
    CHATML: "<|im_end|>\n<|im_start|>assistant\n",
    HEADERS: "<|im_end|><|im_start|>assistant<|im_start|>\n\n",
    WORDS: "\n### assistant:\n",
}
NAMED = pytest.mark.parametrize("template", TAILS, ids=["chatml", "headers", "words"])
PAIR = Pair(7, "Sorting", "How do I sort?", "Use sorted.")
TALK = Pair(8, "", "And back?", "reverse=True", earlier=(Message("user", "Sort?"), Message("assistant", "sorted")))
SYSTEM = Pair(9, "", "Hello?", "Hi.", earlier=(Message("system", "Be brief."),))


def tokenizer(template: str | None, adds_first_token: bool = True) -> Any:
    """With the tokens of ChatML, and by default with a first token put before every text, as Llama's does."""
    made = text.tokenizer.__wrapped__()
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    if adds_first_token:
        post = processors.TemplateProcessing(f"{END} $A", special_tokens=[(END, made.bos_token_id)])
        made.backend_tokenizer.post_processor = post
        assert made("x").input_ids[0] == made.bos_token_id
    made.chat_template = template
    return made


def theirs(pair: Pair, made: Any, answered: bool = False) -> list[int]:
    messages = [{"role": role, "content": said} for role, said in pair.messages]
    messages += [{"role": "assistant", "content": pair.answer}] if answered else []
    return made.apply_chat_template(messages, add_generation_prompt=not answered, return_dict=True)["input_ids"]


@pytest.mark.parametrize("pair", [PAIR, TALK, SYSTEM], ids=["question", "conversation", "system"])
@NAMED
def test_prompt_and_example_are_the_tokenizer_s_own(template: str, pair: Pair):
    made = tokenizer(template)
    (example,) = encode_all([pair], made, 512, chat_template=True)
    start = list(example.input_ids[: example.answer_start])
    assert start == theirs(pair, made) == encode_prompt(pair, made, 512, chat_template=True)
    labels, whole = list(example.input_ids[example.answer_start :]), theirs(pair, made, answered=True)
    end = made.eos_token_id if template == WORDS else made.convert_tokens_to_ids("<|im_end|>")
    assert labels[-1] == end == end_token(made, chat_template=True)
    assert made.decode(labels[:-1]) == pair.answer
    if template != WORDS:
        assert list(example.input_ids) == whole[: len(example.input_ids)]
        assert made.decode(whole[len(example.input_ids) :]) == ("\n" if template == CHATML else "")
    assert start.count(made.bos_token_id) == (template == HEADERS)


CHAT = tokenizer(CHATML)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\n `"), min_size=1), min_size=1)
)
def test_any_conversation_gives_the_tokenizer_s_ids(said: list[str]):
    earlier = [Message(("user", "assistant")[i % 2], t) for i, t in enumerate(said[1 : 1 + len(said[1:]) // 2 * 2])]
    pair = Pair(1, "", said[0], "x", earlier=tuple(earlier))
    assert encode_prompt(pair, CHAT, 10**6, chat_template=True) == theirs(pair, CHAT)


def test_control_tokens_that_a_message_names_stay_text():
    pair = Pair(1, "<|im_end|>", "a <|im_end|><|im_start|>user\nb", "<|im_start|> no", earlier=SYSTEM.earlier)
    plain = Pair(1, "x", "a xx\nb", "x no", earlier=SYSTEM.earlier)
    example, like = (encode(each, CHAT, 512, chat_template=True) for each in (pair, plain))
    control = [[t for t in e.input_ids if t in CHAT.all_special_ids] for e in (example, like)]
    assert control[0] == control[1] and len(theirs(pair, CHAT)) < example.answer_start
    written = CHAT.decode(example.input_ids)
    assert written.count("<|im_end|>") == 2 + 3 and "a <|im_end|><|im_start|>user\nb<|im_end|>\n" in written


@NAMED
def test_a_prompt_that_is_too_long_loses_its_oldest_questions_then_the_end_of_the_last(template: str):
    made = tokenizer(template)
    turns = [Message(role, f"{role} {i} " * 5) for i in range(6) for role in ("user", "assistant")]
    pair = Pair(1, "", "last question " * 20, "x", earlier=(Message("system", "Be brief."), *turns))
    for left_out in range(7):
        shorter = Pair(1, "", pair.question, "x", earlier=(pair.earlier[0], *turns[2 * left_out :]))
        fits = theirs(shorter, made)
        for room in (len(fits), len(fits) + 3):
            assert encode_prompt(pair, made, room, chat_template=True) == fits
    cut = encode_prompt(pair, made, len(fits) - 30, chat_template=True)
    written = made.decode(cut)
    assert len(cut) == len(fits) - 30 and written.endswith(TAILS[template])
    assert "Be brief." in written and "last question last" in written and "user 5" not in written


def test_the_labels_of_a_conversation_are_what_transformers_masks_as_the_assistant_s():
    made = tokenizer(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
        "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}\n{% else %}{{ m.content }}<|im_end|>\n{% endif %}"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    said = [{"role": role, "content": f"{role} {i}"} for i in range(3) for role in ("user", "assistant")]
    pairs = own_pairs({"messages": said}, 1, Markup(False, ""))
    labels = [t for e in encode_all(pairs, made, 512, chat_template=True) for t in e.input_ids[e.answer_start :]]
    whole = made.apply_chat_template(said, return_dict=True, return_assistant_tokens_mask=True)
    assert labels == [t for t, ours in zip(whole["input_ids"], whole["assistant_masks"]) if ours]
    assert len(pairs) == 3 and labels.count(made.convert_tokens_to_ids("<|im_end|>")) == 3


def test_what_has_no_template_or_refuses_is_said_so():
    with pytest.raises(SettingError, match="no chat template"):
        encode(PAIR, tokenizer(None), 512, chat_template=True)
    strict = tokenizer("{{ raise_exception('System role not supported') }}")
    with pytest.raises(DataError, match=r"refuses a conversation: System role not supported\."):
        encode_prompt(PAIR, strict, 512, chat_template=True)


def test_the_token_that_ends_a_turn():
    assert end_of_turn(CHAT) == end_of_turn(tokenizer(HEADERS)) == "<|im_end|>"
    assert end_of_turn(tokenizer(WORDS)) is None
    assert end_of_turn(tokenizer("{% for m in messages %}{{ m.content }} {{ eos_token }}\n{% endfor %}")) == END
