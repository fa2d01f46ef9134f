"""Exercises: an embedding with LoRA, and the shapes in the adapted StarCoderBase-1B."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from lorabook.lora import LoRAConfig
from lorabook.lora import LoRAEmbedding as Reference
from lorabook.workbook.kit.engine import Exercise, Mistake, drawn


def _base(vocabulary=10, width=4):
    """An embedding with fixed numbers, trainable as nn.Embedding comes."""
    return nn.Embedding(vocabulary, width, _weight=drawn(vocabulary, width, seed=3))


def _start(answer):
    layer = answer(_base(), 3, 6, 0.0)
    A, B, parameters = layer.A, layer.B, dict(layer.named_parameters())
    return {
        "A and B are nn.Parameters of the layer": {"A", "B"} <= parameters.keys(),
        "A has the shape (r, vocabulary)": A.shape == (3, 10),
        "B has the shape (width, r)": B.shape == (4, 3),
        "A is zero at the start": not A.any(),
        "B is not zero at the start": bool(B.any()),
        "the base is frozen": not any(p.requires_grad for n, p in parameters.items() if n not in ("A", "B")),
    }


def _filled(answer, r, alpha, p, vocabulary):
    layer = answer(_base(vocabulary), r, alpha, p)
    with torch.no_grad():
        layer.A.copy_(drawn(r, vocabulary, seed=1))
        layer.B.copy_(drawn(4, r, seed=2))
    return layer.train()


def _square(answer):
    """A is square, so that a row taken for a column gives wrong numbers, and no error."""
    tokens = torch.tensor([3, 0, 3])
    return {"for a vocabulary of 4, r = 4 and α = 2": _filled(answer, 4, 2, 0.0, 4)(tokens)}


def _oblong(answer):
    tokens = torch.tensor([[0, 9, 4], [4, 4, 1]])
    return {"for tokens of shape (2, 3), a vocabulary of 10, r = 3 and α = 6": _filled(answer, 3, 6, 0.0, 10)(tokens)}


def _no_dropout(answer):
    tokens = torch.arange(10)
    with_p, without = (_filled(answer, 3, 6, p, 10)(tokens) for p in (0.5, 0.0))
    return {"in training nothing is dropped, whatever p is": torch.equal(with_p, without)}


class _Embedding(nn.Module):
    """A right answer whose decisions can be changed one at a time."""

    def __init__(self, base, r, alpha, p, a=torch.zeros, b=torch.randn, **changes):
        super().__init__()
        self.base = base.requires_grad_(changes.get("trainable", False))
        A, B = a(r, base.num_embeddings), b(base.embedding_dim, r)
        trained = nn.Parameter if changes.get("parameters", True) else torch.Tensor
        self.A, self.B = trained(A), trained(B)
        self.scaling = changes.get("scaling", lambda alpha, r: alpha / r)(alpha, r)
        self.p = p if changes.get("dropout") else 0.0
        self.lookup = changes.get("lookup", lambda A, tokens: F.embedding(tokens, A.T))
        self.update_only = changes.get("update_only", False)

    def forward(self, tokens):
        update = self.scaling * F.dropout(self.lookup(self.A, tokens), self.p, self.training) @ self.B.T
        return update if self.update_only else self.base(tokens) + update


class _OtherWay(_Embedding):
    """A and B stored transposed, and used so."""

    def __init__(self, base, r, alpha, p):
        super().__init__(base, r, alpha, p, lookup=lambda A, tokens: A[tokens])
        self.A = nn.Parameter(torch.zeros(base.num_embeddings, r))


LORA_EMBEDDING = Exercise(
    name="lora_embedding",
    task="An embedding with LoRA, as a layer.",
    stub='''\
import torch
from torch import nn


class LoRAEmbedding(nn.Module):
    """h = W0[token] + (alpha / r) B A[:, token] over a frozen nn.Embedding.

    Attributes: A (r, vocabulary) and B (width, r), one of them zero at the start, the other standard normal.
    p: dropout probability of the model's linear layers. A lookup has no input to drop from, so it is not used.
    """

    def __init__(self, base, r, alpha, p):
        super().__init__()
        raise NotImplementedError

    def forward(self, tokens):
        raise NotImplementedError
''',
    hint="A lookup picks one column of A: A.T[tokens] has shape (..., r). A token never seen should stay as it was: "
    "which factor must be zero?",
    solution="""\
import torch
from torch import nn


class LoRAEmbedding(nn.Module):
    def __init__(self, base, r, alpha, p):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.zeros(r, base.num_embeddings))
        self.B = nn.Parameter(torch.randn(base.embedding_dim, r))
        self.scaling = alpha / r

    def forward(self, tokens):
        return self.base(tokens) + self.scaling * self.A.T[tokens] @ self.B.T
""",
    praise="A is the zero factor here, so a token that is never seen keeps its embedding to the bit.",
    reference=lambda base, r, alpha, p: Reference(base, LoRAConfig(r=r, alpha=alpha, dropout=p)),
    probes=(_start, _square, _oblong, _no_dropout),
    mistakes=(
        Mistake(
            "both A and B are zero. Then neither ever gets a gradient, and nothing is trained.",
            (partial(_Embedding, b=torch.zeros),),
        ),
        Mistake(
            "you made B zero and A random, as in a linear layer. Here A is zero: else, once B has moved, tokens that "
            "were never seen have moved too.",
            (partial(_Embedding, a=torch.randn, b=torch.zeros),),
        ),
        Mistake(
            "neither A nor B is zero. If both are random, BA is not zero and the layer does not start as its base.",
            (partial(_Embedding, a=torch.randn),),
        ),
        Mistake(
            "the base is trainable. Freeze it: base.requires_grad_(False).",
            (partial(_Embedding, trainable=True),),
        ),
        Mistake(
            "A and B are plain tensors. Only an nn.Parameter is found by the optimizer and saved.",
            (partial(_Embedding, parameters=False),),
        ),
        Mistake(
            "your A is transposed. By the definition A is (r, k), and k is the vocabulary here.",
            (_OtherWay,),
        ),
        Mistake(
            "you took rows of A. A token picks a column, A[:, token], that is a row of A.T.",
            (partial(_Embedding, lookup=lambda A, tokens: A[tokens]),),
        ),
        Mistake(
            "you multiplied by α, not α/r. The division reduces the need to tune again at another rank.",
            (partial(_Embedding, scaling=lambda alpha, r: alpha),),
        ),
        Mistake(
            "you left the scaling out. The update counts α/r times.",
            (partial(_Embedding, scaling=lambda alpha, r: 1.0),),
        ),
        Mistake(
            "you gave the update alone. It is added to the base's embedding.",
            (partial(_Embedding, update_only=True),),
        ),
        Mistake(
            "your dropout is on. A lookup has no input to drop from; embeddings have no dropout.",
            (partial(_Embedding, dropout=True),),
        ),
    ),
)

SHAPES = {
    "c_attn.weight": (2304, 2048),
    "c_attn.A": (16, 2048),
    "c_attn.B": (2304, 16),
    "mlp.c_proj.A": (16, 8192),
    "mlp.c_proj.B": (2048, 16),
    "wte.A": (16, 49152),
    "wte.B": (2048, 16),
    "modules hit by c_proj": 48,
    "modules adapted": 98,
    "parameters of wte and lm_head": 49152 * 2048,
}


def _instead(message, *entries):
    """A mistake that shows in any of these entries."""
    return Mistake(message, tuple(SHAPES | {name: value} for name, value in entries))


TREE_SHAPES = Exercise(
    name="tree_shapes",
    task="The shapes and counts in StarCoderBase-1B with LoRA on five kinds of modules.",
    stub="""\
# StarCoderBase-1B: width 2048, 24 blocks, 16 heads of 128 that share one key and one value head, MLP width 8192,
# vocabulary 49152, lm_head tied to wte. LoRA: r = 16 on c_attn, c_proj, c_fc, wte and wpe.
tree_shapes = {
    "c_attn.weight": ...,  # shapes as PyTorch stores them: (rows, columns)
    "c_attn.A": ...,
    "c_attn.B": ...,
    "mlp.c_proj.A": ...,
    "mlp.c_proj.B": ...,
    "wte.A": ...,
    "wte.B": ...,
    "modules hit by c_proj": ...,  # whole numbers from here on
    "modules adapted": ...,
    "parameters of wte and lm_head": ...,
}
""",
    hint="A linear layer stores (outputs, inputs). A is (r, inputs) and B is (outputs, r); for an embedding the inputs "
    "are the vocabulary. Print the pocket model's tree: the names are the same.",
    solution="""\
tree_shapes = {
    "c_attn.weight": (2048 + 2 * 128, 2048),  # all queries, one key, one value
    "c_attn.A": (16, 2048),
    "c_attn.B": (2304, 16),
    "mlp.c_proj.A": (16, 8192),
    "mlp.c_proj.B": (2048, 16),
    "wte.A": (16, 49152),
    "wte.B": (2048, 16),
    "modules hit by c_proj": 2 * 24,  # attn.c_proj and mlp.c_proj
    "modules adapted": 4 * 24 + 2,
    "parameters of wte and lm_head": 49152 * 2048,  # tied: one tensor
}
""",
    praise="you can read the tree: A takes the inputs, B gives the outputs, and a name may hit more than one module.",
    reference=SHAPES,
    probes=tuple(lambda answer, name=name: {repr(name): answer.get(name, ...)} for name in SHAPES),
    mistakes=(
        _instead(
            "you took c_attn for square. It gives 2048 numbers of queries and, shared by all heads, 128 of keys and "
            "128 of values: 2304 outputs from 2048 inputs.",
            ("c_attn.weight", (2048, 2048)),
            ("c_attn.weight", (2304, 2304)),
            ("c_attn.B", (2048, 16)),
        ),
        _instead(
            "you gave every head its own keys and values. Here all heads share one of each (multi-query attention).",
            ("c_attn.weight", (6144, 2048)),
            ("c_attn.B", (6144, 16)),
        ),
        _instead(
            "you turned a shape round. A weight is (outputs, inputs), A is (r, inputs), B is (outputs, r).",
            ("c_attn.weight", (2048, 2304)),
            ("c_attn.A", (2048, 16)),
            ("c_attn.B", (16, 2304)),
            ("mlp.c_proj.A", (8192, 16)),
            ("mlp.c_proj.B", (16, 2048)),
            ("wte.A", (49152, 16)),
            ("wte.B", (16, 2048)),
        ),
        _instead(
            "you swapped the sides. A takes the inputs of its layer, B gives the outputs.",
            ("c_attn.A", (16, 2304)),
            ("mlp.c_proj.B", (8192, 16)),
        ),
        _instead(
            "you took the MLP's c_proj for that of attention. It leads back from the MLP's 8192 to 2048.",
            ("mlp.c_proj.A", (16, 2048)),
        ),
        _instead(
            "you took the width of an embedding for its inputs. An input is a token: A has a column for each of 49152.",
            ("wte.A", (16, 2048)),
            ("wte.B", (49152, 16)),
        ),
        _instead(
            "you counted c_proj once. Each block has two modules of that name, attn.c_proj and mlp.c_proj.",
            ("modules hit by c_proj", 24),
            ("modules adapted", 74),
        ),
        _instead(
            "you counted one block. There are 24.",
            ("modules hit by c_proj", 2),
            ("modules adapted", 6),
        ),
        _instead("you forgot wte and wpe.", ("modules adapted", 96)),
        _instead(
            "you counted names. A name hits a module in every block, and c_proj hits two.",
            ("modules hit by c_proj", 1),
            ("modules adapted", 5),
        ),
        _instead(
            "you counted the tied head twice. lm_head has no weight of its own: it is wte's tensor.",
            ("parameters of wte and lm_head", 2 * 49152 * 2048),
        ),
    ),
)

EXERCISES = (LORA_EMBEDDING, TREE_SHAPES)
