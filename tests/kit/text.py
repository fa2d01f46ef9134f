"""A byte-level BPE tokenizer trained on the spot, with questions to put through it."""

from functools import cache

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from lorabook.data.examples import Pair

END = "<|endoftext|>"
TEXT = [
    "How do I sort a list of dictionaries by one of their keys?",
    "Use sorted with a key: sorted(rows, key=lambda row: row['age']).",
    "Why does my loop over a dictionary raise an error when I delete from it?",
    "Loop over a copy:\n\n```\nfor key in list(d):\n    del d[key]\n```",
    "Question: Answer:\n\n",
]


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """At most 300 tokens: the end token (id 0), the 256 bytes, and some merges."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=[END], initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator(TEXT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END)


def pair(question: str = TEXT[0], answer: str = TEXT[1], question_id: int = 1, title: str = "Sort") -> Pair:
    return Pair(question_id, title, question, answer)
