"""The exercises of notebook 01: forward pass, merge, embedding and shapes of LoRA."""

import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

from lorabook.lora import LoRAConfig
from lorabook.lora import LoRAEmbedding as Reference
from lorabook.workbook.kit.exercise import Exercise, Mistake, cases, drawn

# lora_forward


def _layer(d, k, r, dtype=torch.float32, seed=0):
    """W (d, k), A (r, k), B (d, r)."""
    return tuple(drawn(*shape, seed=seed + i, dtype=dtype) for i, shape in enumerate(((d, k), (r, k), (d, r))))


def _scaled(scaling):
    """The right answer with another scaling: a function of alpha, A and B."""
    return lambda x, W, A, B, alpha, p, training: x @ W.T + scaling(alpha, A, B) * (x @ A.T @ B.T)


def _dropped(forward):
    """The right answer with dropout elsewhere: `forward(x, base, low, up, drop)`, low applies A, up applies (α/r) B."""

    def answer(x, W, A, B, alpha, p, training):
        def drop(t, on=training):
            return F.dropout(t, p, on)

        return forward(x, lambda t: t @ W.T, lambda t: t @ A.T, lambda t: alpha / len(A) * t @ B.T, drop)

    return answer


def _gradients(answer):
    x, (W, A, B) = drawn(3, 4, seed=9), _layer(5, 4, 2)
    A.requires_grad_()
    B.requires_grad_()
    answer(x, W, A, B, 4, 0.0, True).square().sum().backward()
    return {"a gradient reaches A": A.grad is not None, "a gradient reaches B": B.grad is not None}


def _evaluation(answer):
    x, (W, A, B) = drawn(3, 4, seed=9), _layer(5, 4, 2)
    plain, careless = (answer(x, W, A, B, 4, p, False) for p in (0.0, 0.5))
    return {"with training = False nothing is dropped, whatever p is": torch.equal(plain, careless)}


def _training(answer):
    """With p = 0.5. One row of x is eight ones; the first output sees W alone, the two others the update alone, which
    is the sum of those powers of two whose element was kept."""
    x, W, A, B = torch.ones(256, 8), torch.zeros(3, 8), 2.0 ** torch.arange(8)[None], torch.tensor([[0.0], [1], [1]])
    W[0] = 1
    base, first, second = answer(x, W, A, B, 1, 0.5, True).T
    return {
        "in training W0 sees x as it is, with nothing dropped": bool((base == 8).all()),
        "in training dropout changes the update": len(first.unique()) > 1,
        "in training single elements of x are dropped before A": len(first.unique()) > 2,
        "in training nothing is dropped after B": torch.equal(first, second),
        "in training what is kept is divided by 1 - p, so that the mean stays": 195 < first.mean() < 315,
    }


LORA_FORWARD = Exercise(
    name="lora_forward",
    task="The forward pass of a linear layer with LoRA.",
    stub='''\
import torch.nn.functional as F


def lora_forward(x, W, A, B, alpha, p, training):
    """h = W0 x + (alpha / r) B A dropout(x), for every row of x.

    x: (..., k). W: (d, k), frozen. A: (r, k). B: (d, r). Returns (..., d).
    p: dropout probability of x on its way into A. training: whether dropout is on.
    """
    raise NotImplementedError
''',
    hint="A row of x goes through a weight as x @ W.T. r is a length of A. F.dropout takes p and training.",
    solution="""\
import torch.nn.functional as F


def lora_forward(x, W, A, B, alpha, p, training):
    r = A.shape[0]
    z = F.dropout(x, p, training) @ A.T
    return x @ W.T + (alpha / r) * (z @ B.T)
""",
    praise="W0 x + (α/r) B A x, dropout on the way into A only. If x goes through A first, BA is never formed.",
    reference=_dropped(lambda x, base, low, up, drop: base(x) + up(low(drop(x)))),
    probes=(
        cases(  # all of one size, so that a wrong order gives wrong numbers, and not errors
            lambda x, W, *_: f"for x of shape {tuple(x.shape)}, W {tuple(W.shape)}, r = 4 and α = 3",
            (drawn(3, 4, seed=5), *_layer(4, 4, 4), 3, 0.0, False),
        ),
        cases(
            lambda x, W, A, B, alpha, *_: (
                f"for x of shape {tuple(x.shape)} in {str(x.dtype).removeprefix('torch.')}, "
                f"W {tuple(W.shape)}, r = {len(A)} and α = {alpha}"
            ),
            (drawn(3, 8, seed=6), *_layer(6, 8, 2), 8, 0.0, False),
            (drawn(2, 3, 5, seed=7, dtype=torch.float64), *_layer(7, 5, 3, torch.float64), 1, 0.0, True),
            (drawn(2, 6, seed=8), *_layer(6, 6, 4), 4, 0.0, True),
        ),
        _gradients,
        _evaluation,
        _training,
    ),
    mistakes=(
        Mistake(
            "you multiplied by α, not α/r. The division reduces the need to tune again at another rank.",
            (_scaled(lambda alpha, A, B: alpha),),
        ),
        Mistake("you left the scaling out. The update counts α/r times.", (_scaled(lambda alpha, A, B: 1),)),
        Mistake("you turned the scaling round: it is α/r, not r/α.", (_scaled(lambda alpha, A, B: len(A) / alpha),)),
        Mistake(
            "you scaled by α/√r, which is rsLoRA. LoRA's own scaling is α/r.",
            (_scaled(lambda alpha, A, B: alpha / math.sqrt(len(A))),),
        ),
        Mistake(
            "you scaled twice: α/r stands once in front of BA.", (_scaled(lambda alpha, A, B: (alpha / len(A)) ** 2),)
        ),
        Mistake(
            "you read r off the wrong side. A is (r, k) and B is (d, r).",
            (_scaled(lambda alpha, A, B: alpha / A.shape[1]), _scaled(lambda alpha, A, B: alpha / B.shape[0])),
        ),
        Mistake(
            "you swapped A and B. x meets A first, which takes k numbers to r, and then B, which takes r to d.",
            (
                lambda x, W, A, B, alpha, p, training: x @ W.T + alpha / len(A) * (x @ B @ A),
                lambda x, W, A, B, alpha, p, training: x @ W.T + alpha / len(A) * (x @ B.T @ A.T),
            ),
        ),
        Mistake(
            "you forgot to transpose. Weights are stored (outputs, inputs), so a row of x passes as x @ W.T.",
            (
                lambda x, W, A, B, alpha, p, training: x @ W + alpha / len(A) * (x @ A.T @ B.T),
                lambda x, W, A, B, alpha, p, training: x @ W.T + alpha / len(A) * (x @ A @ B),
                lambda x, W, A, B, alpha, p, training: x @ W + alpha / len(A) * (x @ A @ B),
            ),
        ),
        Mistake(
            "you gave the update alone. It is added to W0 x.",
            (lambda x, W, A, B, alpha, p, training: alpha / len(A) * (x @ A.T @ B.T),),
        ),
        Mistake(
            "no gradient reaches A and B, so nothing would be trained: you cut it off with detach, .data or no_grad.",
            tuple(
                lambda x, W, A, B, alpha, p, training, cut=cut: (
                    x @ W.T
                    + alpha / len(A) * (x @ (A.detach() if "A" in cut else A).T @ (B.detach() if "B" in cut else B).T)
                )
                for cut in ("A", "B", "AB")
            ),
        ),
        Mistake(
            "your dropout is on in evaluation too. Hand `training` on to it.",
            (_dropped(lambda x, base, low, up, drop: base(x) + up(low(drop(x, True)))),),
        ),
        Mistake(
            "your dropout falls on the output. It belongs on x, on its way into A.",
            (
                _dropped(lambda x, base, low, up, drop: drop(base(x) + up(low(x)))),
                _dropped(lambda x, base, low, up, drop: base(x) + drop(up(low(x)))),
            ),
        ),
        Mistake(
            "your dropout falls on A x. It belongs on x, before A.",
            (_dropped(lambda x, base, low, up, drop: base(x) + up(drop(low(x)))),),
        ),
        Mistake(
            "your dropout falls on the frozen path too. W0 sees x as it is.",
            (_dropped(lambda x, base, low, up, drop: (lambda t: base(t) + up(low(t)))(drop(x))),),
        ),
        Mistake("you apply no dropout in training.", (_dropped(lambda x, base, low, up, drop: base(x) + up(low(x))),)),
    ),
)


# lora_merge


def _merged(change):
    """An answer that changes W by `change(W, scaled B A)` where it is not merged yet."""
    return lambda W, A, B, alpha, merged: W if merged else change(W, alpha / len(A) * (B @ A))


def _merge_by(update):
    """An answer that adds another update, a function of A, B and alpha."""
    return lambda W, A, B, alpha, merged: W if merged else (W + update(A, B, alpha)).to(W.dtype)


def _in_place(W, update):
    W += update
    return W


def _keeps_base(answer):
    W, A, B = _layer(4, 3, 2)
    before = W.clone()
    answer(W, A, B, 4, False)
    return {"W itself is left as it was": torch.equal(W, before)}


LORA_MERGE = Exercise(
    name="lora_merge",
    task="The weight that includes the update.",
    stub='''\
def lora_merge(W, A, B, alpha, merged):
    """The weight with (alpha / r) B A in it, as a new tensor of W's shape and dtype.

    W: (d, k), maybe fp16. A: (r, k) and B: (d, r), fp32.
    merged: if True, W already contains the update; return W unchanged.
    The sum is formed in fp32 and rounded to W's dtype once.
    """
    raise NotImplementedError
''',
    hint="What has shape (d, k): AB or BA? fp16 + fp32 is formed in fp32. And what is to happen if `merged` is true?",
    solution="""\
def lora_merge(W, A, B, alpha, merged):
    if merged:
        return W
    return (W + (alpha / A.shape[0]) * (B @ A)).to(W.dtype)
""",
    praise="W0 + (α/r) BA, once. From here on inference costs what the base costs.",
    reference=_merge_by(lambda A, B, alpha: alpha / len(A) * (B @ A)),
    probes=(
        cases(lambda *_: "for W (4, 4), r = 4 and α = 3", (*_layer(4, 4, 4), 3, False)),
        cases(
            lambda W, A, B, alpha, _: f"for W {tuple(W.shape)}, r = {len(A)} and α = {alpha}",
            (*_layer(6, 8, 2), 8, False),
            (*_layer(5, 5, 3, torch.float64), 1, False),
        ),
        cases(lambda W, *_: f"for W {tuple(W.shape)} that includes the update already", (*_layer(6, 8, 2), 8, True)),
        # fp16 has 2048 and 2050, and nothing between: 2048 + 1.0003 is 2050, but 1.0003 alone is 1, and 2049 is 2048
        cases(
            lambda *_: "for W = 2048 in float16 and an update of 1.0003",
            (torch.tensor([[2048.0]]).half(), torch.tensor([[1.0]]), torch.tensor([[1.0003]]), 1, False),
        ),
        _keeps_base,
    ),
    mistakes=(
        Mistake("you subtracted the update. Merging adds it; unmerging takes it out.", (_merged(lambda W, u: W - u),)),
        Mistake(
            "you formed AB. The update is BA: (d, r) times (r, k) gives W's (d, k).",
            (_merge_by(lambda A, B, alpha: alpha / len(A) * (A @ B)),),
        ),
        Mistake(
            "your product is transposed. BA already has W's shape (d, k).",
            (_merge_by(lambda A, B, alpha: alpha / len(A) * (B @ A).T),),
        ),
        Mistake("you left the scaling out. The update is (α/r) BA.", (_merge_by(lambda A, B, alpha: B @ A),)),
        Mistake("you multiplied by α, not α/r, as in training.", (_merge_by(lambda A, B, alpha: alpha * (B @ A)),)),
        Mistake("you scaled twice: (α/r) BA.", (_merge_by(lambda A, B, alpha: (alpha / len(A)) ** 2 * (B @ A)),)),
        Mistake("you gave the update alone. It is added to W.", (_merged(lambda W, u: u),)),
        Mistake(
            "you merged twice. Where `merged` is true, W includes the update and stays as it is.",
            (lambda W, A, B, alpha, merged: (W + alpha / len(A) * (B @ A)).to(W.dtype),),
        ),
        Mistake(
            "you took the update out where W was merged already. It is to stay merged.",
            (lambda W, A, B, alpha, merged: W - (1 if merged else -1) * alpha / len(A) * (B @ A),),
        ),
        Mistake(
            "you rounded the update before adding it. Form the sum in fp32 and round once.",
            (_merged(lambda W, u: W + u.to(W.dtype)), _merged(lambda W, u: W.clone().add_(u.to(W.dtype)))),
        ),
        Mistake("you left the sum in fp32. Give it W's dtype.", (_merged(lambda W, u: W + u),)),
        Mistake(
            "you changed W in place. Without the original, nobody can unmerge exactly.",
            (_merged(_in_place), _merged(lambda W, u: W.copy_(W + u))),
        ),
    ),
)


# lora_embedding


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

    Attributes: A (r, vocabulary) and B (width, r), one of them zero at the start, the
    other standard normal. p: dropout probability of the model's linear layers. It is
    ignored here: a lookup has no input to drop from."""

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
            "the base is trainable. Freeze it: base.requires_grad_(False).", (partial(_Embedding, trainable=True),)
        ),
        Mistake(
            "A and B are plain tensors. Only an nn.Parameter is found by the optimizer and saved.",
            (partial(_Embedding, parameters=False),),
        ),
        Mistake("your A is transposed. By the definition A is (r, k), and k is the vocabulary here.", (_OtherWay,)),
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
            "you gave the update alone. It is added to the base's embedding.", (partial(_Embedding, update_only=True),)
        ),
        Mistake(
            "your dropout is on. A lookup has no input to drop from; embeddings have no dropout.",
            (partial(_Embedding, dropout=True),),
        ),
    ),
)


# tree_shapes


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
# StarCoderBase-1B: width 2048, 24 blocks, 16 heads of 128 that share one key and one
# value head, MLP width 8192, vocabulary 49152, lm_head tied to wte.
# LoRA: r = 16 on c_attn, c_proj, c_fc, wte and wpe.
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
        _instead("you counted one block. There are 24.", ("modules hit by c_proj", 2), ("modules adapted", 6)),
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


EXERCISES = (LORA_FORWARD, LORA_MERGE, LORA_EMBEDDING, TREE_SHAPES)
