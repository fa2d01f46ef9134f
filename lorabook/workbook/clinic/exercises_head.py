"""Exercise: an update merged into a head that shares its weight with the embedding."""

from types import SimpleNamespace

import torch
from torch import nn

from lorabook.workbook.kit.engine import Exercise, Mistake, drawn


class _Tied(nn.Module):
    """What a language model's two ends are made of: one frozen tensor of (vocabulary, width)."""

    def __init__(self, dtype=torch.float32):
        super().__init__()
        self.embedding, self.head = nn.Embedding(7, 5), nn.Linear(5, 7, bias=False)
        self.embedding.weight = self.head.weight = nn.Parameter(drawn(7, 5).to(dtype), requires_grad=False)
        self.config = SimpleNamespace(tie_word_embeddings=True)


def _merged(answer, dtype=torch.float32):
    model = _Tied(dtype)
    answer(model, drawn(2, 5, seed=1), drawn(7, 2, seed=2), 0.5)
    return model


def _weights(answer):
    model = _merged(answer)
    return {
        "for r = 2 and a scaling of 0.5, the head's weight": model.head.weight,
        "the embedding is what it was": torch.equal(model.embedding.weight, drawn(7, 5)),
    }


def _said(answer):
    return {"model.config.tie_word_embeddings is False": _merged(answer).config.tie_word_embeddings is False}


def _kept_frozen(answer):
    weight = _merged(answer).head.weight
    return {"the head's weight is a Parameter, frozen": isinstance(weight, nn.Parameter) and not weight.requires_grad}


def _half(answer):
    """In fp16, so that a sum rounded in another order shows."""
    return {"for a model in float16, the head's weight": _merged(answer, torch.float16).head.weight}


def _merging(value=lambda W0, update: W0.float() + update, untie=True, tell=True, frozen=True, dtype=None):
    """A right answer whose decisions can be changed one at a time."""

    @torch.no_grad()
    def answer(model, A, B, scaling):
        W0 = model.head.weight
        merged = value(W0, scaling * B @ A).to(dtype or W0.dtype)
        if untie:
            model.head.weight = nn.Parameter(merged, requires_grad=not frozen)
        else:
            W0.copy_(merged)
        if tell:
            model.config.tie_word_embeddings = False

    return answer


def _other_end(model, A, B, scaling):
    model.embedding.weight = nn.Parameter(model.embedding.weight + scaling * B @ A, requires_grad=False)


MERGE_HEAD = Exercise(
    name="merge_head",
    task="LoRA's update merged into a head that shares its weight with the embedding.",
    stub='''\
import torch
from torch import nn


def merge_head(model, A, B, scaling):
    """Make model.head, an nn.Linear, multiply by W0 + scaling B A, and leave model.embedding as it is.

    Both hold one frozen tensor of shape (vocabulary, width), fp32 or fp16. A: (r, width) and B: (vocabulary, r), fp32.
    Form the sum in fp32 and round it once. Nothing is returned; the head stays frozen, in its dtype.
    A model whose ends are no longer tied says so: model.config.tie_word_embeddings is False.
    """
    raise NotImplementedError
''',
    hint="Writing into model.head.weight writes into model.embedding.weight: they are one tensor. Give the head a "
    "Parameter of its own, and think of what a reload would do.",
    solution="""\
import torch
from torch import nn


@torch.no_grad()
def merge_head(model, A, B, scaling):
    W0 = model.head.weight
    merged = (W0.float() + scaling * B @ A).to(W0.dtype)
    model.head.weight = nn.Parameter(merged, requires_grad=False)
    model.config.tie_word_embeddings = False
""",
    praise="two tensors where there was one, and the configuration says so, or a reload would tie them again.",
    reference=_merging(),
    probes=(_weights, _said, _kept_frozen, _half),
    mistakes=(
        Mistake(
            "the embedding moved with the head: both are one tensor. Untie them before you merge.",
            (_merging(untie=False), _merging(untie=False, tell=False)),
        ),
        Mistake(
            "you merged into the embedding. It is the head that was adapted.",
            (_other_end,),
        ),
        Mistake(
            "the head is as it was. A new weight must be put into model.head.",
            (_merging(value=lambda W0, update: W0),),
        ),
        Mistake(
            "you left the scaling out.",
            (_merging(value=lambda W0, update: W0.float() + update / 0.5),),
        ),
        Mistake(
            "you subtracted the update. Merging adds it.", (_merging(value=lambda W0, update: W0.float() - update),)
        ),
        Mistake("you wrote the update alone. It is added to W0.", (_merging(value=lambda W0, update: update),)),
        Mistake(
            "model.config.tie_word_embeddings is still True: whoever saves and reloads this model ties its ends again.",
            (_merging(tell=False),),
        ),
        Mistake(
            "your head is trainable now. nn.Parameter asks for a gradient unless it is told requires_grad=False.",
            (_merging(frozen=False),),
        ),
        Mistake(
            "your head is in float32 now. The rest of the model is in float16, and the two do not multiply.",
            (_merging(dtype=torch.float32),),
        ),
        Mistake(
            "you rounded the update before adding it. Form the sum in fp32 and round once.",
            (_merging(value=lambda W0, update: W0 + update.to(W0.dtype)),),
        ),
    ),
)

EXERCISES = (MERGE_HEAD,)
