"""What a model answers: its own words to a question, then what can be counted in them without judging."""

import ast
import contextlib
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from lorabook.data.batches import length_batches
from lorabook.data.examples import Pair, encode_prompt, end_token
from lorabook.data.fences import code_blocks
from lorabook.errors import DataError, SettingError
from lorabook.lora import is_sharded
from lorabook.models.attention import masked_attention
from lorabook.threads import fastest_threads
from lorabook.training.evaluate import evaluating
from lorabook.training.progress import writing

LEAST_STATEMENTS = 3
LEAST_TEMPERATURE = 0.01


@dataclass(frozen=True)
class Answer:
    """What a model wrote: the text, its length in tokens, and whether it ended by itself, with the end token."""

    text: str
    tokens: int
    ended: bool

    @classmethod
    def of(cls, ids: list[int], tokenizer, end: int) -> "Answer":
        """Of the ids that were generated, with or without the end token `end`, which ends what counts."""
        ended = end in ids
        tokens = ids.index(end) if ended else len(ids)
        return cls(tokenizer.decode(ids[:tokens], skip_special_tokens=True).strip("\n"), tokens, ended)


def answer(
    model: nn.Module,
    tokenizer,
    question: Pair,
    max_new_tokens: int = 160,
    temperature: float = 0.0,
    seed: int = 0,
    max_length: int | None = None,
    chat_template: bool = False,
    on_text: Callable[[str], None] | None = None,
) -> str:
    """The text of the model's answer to one question; the arguments are those of `answers`."""
    options = (max_new_tokens, temperature, seed, max_length)
    more = {"chat_template": chat_template, "on_text": on_text}
    return answers(model, tokenizer, [question], *options, **more)[0].text


def check_temperature(temperature: float) -> None:
    """SettingError for one that is negative, not finite, or so small that dividing by it overflows."""
    if temperature != 0 and not LEAST_TEMPERATURE <= temperature < math.inf:
        raise SettingError(
            f"The temperature is {temperature!r}.", f"Give 0 for the likeliest tokens, or at least {LEAST_TEMPERATURE}."
        )


def answers(
    model: nn.Module,
    tokenizer,
    questions: Sequence[Pair],
    max_new_tokens: int = 160,
    temperature: float = 0.0,
    seed: int = 0,
    max_length: int | None = None,
    batch_tokens: int = 8192,
    chat_template: bool = False,
    on_text: Callable[[str], None] | None = None,
) -> list[Answer]:
    """The model's answers to questions, in their order: greedy at temperature 0, sampled above.

    Prompts of similar length are generated together, padded on the left: as many as keep prompts * (longest +
    `max_new_tokens`) <= `batch_tokens`, which bounds the keys and values kept, and at least one. Greedy answers are
    those of one prompt at a time, to rounding. Sampling draws from its own seed and leaves the random state alone. The
    model's own generation settings are set aside. Each prompt is cut so that prompt and answer fit the model's
    positions (`max_length`). With `chat_template` prompt and end of an answer are those of the tokenizer's chat
    template. For a single question, `on_text` is called with every piece of the text as soon as it is written.

    Raises:
        SettingError: the temperature (`check_temperature`); a sharded model; there is no chat template.
        DataError: the tokenizer has no end token.
    """
    from transformers import GenerationConfig

    check_temperature(temperature)
    if is_sharded(model):
        raise SettingError(
            "The model's weights are cut into shards.",
            "Save the adapter, and ask a whole model that it is loaded onto: lorabook ask --adapter DIR.",
        )
    host: Any = model
    positions = max_length or getattr(model.config, "max_position_embeddings", None) or 1024
    max_new_tokens = min(max_new_tokens, positions // 2)
    prompts = [encode_prompt(asked, tokenizer, positions - max_new_tokens, chat_template) for asked in questions]
    groups = length_batches([len(ids) + max_new_tokens for ids in prompts], batch_tokens)
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature > 0 else {"do_sample": False}
    end = end_token(tokenizer, chat_template)
    settings = GenerationConfig(max_new_tokens=max_new_tokens, pad_token_id=end, eos_token_id=end, **sampling)
    own = host.generation_config  # its penalties and limits would change what is asked for here
    found: dict[int, Answer] = {}
    with (
        evaluating(model) as device,
        fastest_threads(model, max(map(len, groups), default=1)),
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
        writing(max_new_tokens * len(prompts)) if on_text is None else _heard(on_text, tokenizer) as streamer,
    ):
        torch.manual_seed(seed)
        try:
            host.generation_config = settings
            for chosen in groups:
                longest = max(len(prompts[i]) for i in chosen)
                padding = [longest - len(prompts[i]) for i in chosen]
                ids = torch.tensor([[end] * pad + prompts[i] for i, pad in zip(chosen, padding)], device=device)
                mask = torch.tensor([[0] * pad + [1] * (longest - pad) for pad in padding], device=device)
                with masked_attention(model) if any(padding) else contextlib.nullcontext():
                    written = host.generate(ids, attention_mask=mask, streamer=streamer)[:, longest:].tolist()
                found |= {i: Answer.of(new, tokenizer, end) for i, new in zip(chosen, written)}
        finally:
            host.generation_config = own
    return [found[i] for i in range(len(prompts))]


def _heard(on_text: Callable[[str], None], tokenizer) -> contextlib.nullcontext[Any]:
    """A streamer for `generate` that gives `on_text` every piece of the text."""
    from transformers import TextStreamer

    streamer: Any = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    streamer.on_finalized_text = lambda text, stream_end=False: on_text(text)
    return contextlib.nullcontext(streamer)


@dataclass(frozen=True)
class AnswerQuality:
    """What can be counted in a model's answers without judging them.

    Attributes:
        answers: how many there are.
        ended: fraction that ended by themselves, within the tokens allowed.
        code: fraction with code that parses, as `parse_share` counts it.
        repetition: mean fraction of an answer's runs of four words that it had already written (seq-rep-4 of Welleck
            et al. 2019, arXiv 1908.04319, over words).
        tokens: mean length in tokens.
    """

    answers: int
    ended: float
    code: float
    repetition: float
    tokens: float

    @classmethod
    def of(cls, written: Sequence[Answer]) -> "AnswerQuality":
        """Raises DataError where there are no answers."""
        if not written:
            raise DataError("There are no answers to measure.", "Give at least one.")
        count = len(written)
        return cls(
            answers=count,
            ended=sum(a.ended for a in written) / count,
            code=parse_share([a.text for a in written]).parsed / count,
            repetition=sum(_repetition(a.text) for a in written) / count,
            tokens=sum(a.tokens for a in written) / count,
        )


def _repetition(text: str) -> float:
    words = text.split()
    runs = list(zip(words, words[1:], words[2:], words[3:]))
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


@dataclass(frozen=True)
class ParseShare:
    """How many of `answers` hold a code block that parses as Python, as `parse_share` counts them."""

    parsed: int
    answers: int

    def __str__(self) -> str:
        return f"{self.parsed} of {self.answers}"


def parse_share(answers: Sequence[str]) -> ParseShare:
    """Count the answers with a fenced code block that parses as Python. Nothing is executed.

    The block must be closed, hold at least three different statements, and repeat fewer than half of its lines: a
    model in a loop writes code that parses too.
    """
    return ParseShare(sum(any(_parses(block) for block in code_blocks(a, closed=True)) for a in answers), len(answers))


def _parses(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Python thinks of a stranger's escape sequences
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    lines = [line for line in code.split("\n") if line.strip()]
    statements = {ast.dump(node) for node in ast.walk(tree) if isinstance(node, ast.stmt)}
    return len(statements) >= LEAST_STATEMENTS and 2 * len(set(lines)) > len(lines)
