"""Data: from questions and answers, StackOverflow's or one's own, to the token ids that a model is trained on."""

from lorabook.data.batches import collate
from lorabook.data.examples import Pair, encode, encode_all, encode_prompt, prompt
from lorabook.data.split import split
from lorabook.data.stackoverflow import load

__all__ = ["Pair", "collate", "encode", "encode_all", "encode_prompt", "load", "prompt", "split"]
