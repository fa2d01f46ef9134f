"""Exercises: the parameters of bottleneck adapters, and one merged LoRA in place of another."""

import torch

from lorabook.workbook.kit.engine import Exercise, Mistake, cases, drawn

# bottleneck_parameters


def _bottleneck(
    adapters=2, per_adapter=lambda d, m: 2 * m * d + d + m, norms=lambda L: 2 * L + 1, per_norm=2, **changes
):
    """A right answer whose decisions can be changed one at a time; norms: how many there are in L blocks."""

    def answer(d, m, blocks):
        L = changes.get("blocks", blocks)
        return L * adapters * per_adapter(d, m) + norms(L) * per_norm * d

    return answer


BOTTLENECK_PARAMETERS = Exercise(
    name="bottleneck_parameters",
    task="The numbers that bottleneck adapters train in a model.",
    stub='''\
def bottleneck_parameters(d, m, blocks):
    """Numbers trained with bottleneck adapters (Houlsby et al. 2019) in a GPT of `blocks` blocks and width d.

    An adapter is h + W_up f(W_down h + b_down) + b_up, from d numbers to m and back. Each block has one behind
    attention and one behind the MLP. Every LayerNorm of the model is trained with them: two a block, one at the end.
    """
    raise NotImplementedError
''',
    hint="W_down is (m, d) and W_up is (d, m). How long are their biases? And what does a LayerNorm of width d hold?",
    solution="""\
def bottleneck_parameters(d, m, blocks):
    adapter = 2 * m * d + d + m
    norm = 2 * d  # weight and bias
    return blocks * 2 * adapter + (2 * blocks + 1) * norm
""",
    praise="2md + d + m an adapter, two a block, and the norms, which no bottleneck makes smaller.",
    reference=_bottleneck(),
    probes=(
        cases(
            lambda d, m, blocks: f"for d = {d}, m = {m} and {blocks} blocks",
            (768, 64, 12),
            (256, 8, 4),
            (10, 3, 2),
        ),
    ),
    mistakes=(
        Mistake(
            "you forgot the biases. b_down has m numbers and b_up has d.",
            (_bottleneck(per_adapter=lambda d, m: 2 * m * d),),
        ),
        Mistake(
            "you counted one bias. There are two: b_down has m numbers and b_up has d.",
            (_bottleneck(per_adapter=lambda d, m: 2 * m * d + d),),
        ),
        Mistake(
            "you gave both biases one length. A bias is as long as its layer's output: m for W_down, d for W_up.",
            (
                _bottleneck(per_adapter=lambda d, m: 2 * m * d + 2 * d),
                _bottleneck(per_adapter=lambda d, m: 2 * m * d + 2 * m),
            ),
        ),
        Mistake(
            "you counted one matrix. The way down and the way up have one each.",
            (
                _bottleneck(per_adapter=lambda d, m: m * d + d + m),
                _bottleneck(per_adapter=lambda d, m: m * d + d),
                _bottleneck(per_adapter=lambda d, m: m * d + m),
                _bottleneck(per_adapter=lambda d, m: m * d),
            ),
        ),
        Mistake(
            "you put one adapter in a block. There are two, one behind attention and one behind the MLP.",
            (_bottleneck(adapters=1),),
        ),
        Mistake(
            "you put an adapter behind every linear layer. There are two in a block: attention and the MLP end in one.",
            (_bottleneck(adapters=4),),
        ),
        Mistake("you forgot the LayerNorms. They are trained too.", (_bottleneck(norms=lambda L: 0),)),
        Mistake(
            "you forgot the last LayerNorm, behind all blocks.",
            (_bottleneck(norms=lambda L: 2 * L),),
        ),
        Mistake(
            "2d numbers a block are missing, as many as a block's second LayerNorm holds, or b_up in both adapters.",
            (_bottleneck(norms=lambda L: L + 1), _bottleneck(per_adapter=lambda d, m: 2 * m * d + m)),
        ),
        Mistake(
            "you forgot a LayerNorm's bias. It has a weight and a bias, d numbers each.",
            (_bottleneck(per_norm=1),),
        ),
        Mistake("you counted one block.", (_bottleneck(blocks=1),)),
        Mistake(
            "you counted as for LoRA: two thin matrices and nothing else. Here biases and norms are trained too.",
            (_bottleneck(per_adapter=lambda d, m: 2 * m * d, norms=lambda L: 0),),
        ),
    ),
)

# swap_merged


def _adapter(d, k, r, alpha, seed):
    return drawn(r, k, seed=seed), drawn(d, r, seed=seed + 1), alpha


def _delta(A, B, alpha):
    return alpha / len(A) * (B @ A)


def _swapped(d, k, r, new_r):
    """A probe of the weight after a swap in fp32."""

    def probe(answer):
        W0, old, new = drawn(d, k), _adapter(d, k, r, 2, seed=1), _adapter(d, k, new_r, 3, seed=3)
        weight = W0 + _delta(*old)
        answer(weight, W0.clone(), old, new)
        return {f"for a weight of shape {(d, k)}, r = {r}, α = 2, then r = {new_r}, α = 3, the weight": weight}

    return probe


def _after(W0, old, new):
    """The weight in fp16 after a swap, where each of the three is one number and r = α = 1."""

    def probe(answer):
        weight, kept = torch.tensor([[W0 + old]]).half(), torch.tensor([[W0]]).half()
        answer(weight, kept, *((torch.tensor([[1.0]]), torch.tensor([[u]]), 1) for u in (old, new)))
        return {f"for W0 = {W0:g} in float16 and an update of {new:g} in place of {old:g}, the weight": weight.item()}

    return probe


def _leaves(answer):
    """Twice, there and back; A and B are parameters, as in a model."""
    W0, old, new = drawn(4, 3), _adapter(4, 3, 2, 4, seed=1), _adapter(4, 3, 2, 4, seed=3)
    for factor in (*old[:2], *new[:2]):
        factor.requires_grad_()
    kept, weight = W0.clone(), (W0 + _delta(*old)).detach()
    answer(weight, kept, old, new)
    answer(weight, kept, new, old)
    return {
        "kept is left as it was": torch.equal(kept, W0),
        "the weight asks for no gradient": not weight.requires_grad,
    }


def _writes(value):
    """An answer that writes `value(weight, kept, old, new)` into weight; old and new are the updates."""

    def answer(weight, kept, old, new):
        with torch.no_grad():
            weight.copy_(value(weight, kept, _delta(*old), _delta(*new)))

    return answer


def _scaled(scaling):
    """The right answer with another scaling of the new update, a function of old and new."""

    def answer(weight, kept, old, new):
        A, B, _ = new
        with torch.no_grad():
            weight.copy_(kept + scaling(old, new) * (B @ A))

    return answer


def _product(product):
    """The right answer with another product of A and B."""

    def answer(weight, kept, old, new):
        A, B, alpha = new
        with torch.no_grad():
            weight.copy_(kept + alpha / len(A) * product(A, B))

    return answer


def _into_kept(weight, kept, old, new):
    kept += _delta(*new)
    weight.copy_(kept)


def _recorded(weight, kept, old, new):
    weight.copy_(kept + _delta(*new))


SWAP_MERGED = Exercise(
    name="swap_merged",
    task="Another adapter in place of the one that is merged.",
    stub='''\
import torch


def swap_merged(weight, kept, old, new):
    """Make `weight`, into which the adapter `old` is merged, W0 + (alpha / r) B A of the adapter `new`, in place.

    weight: (d, k), maybe fp16: the frozen tensor that the model holds and goes on holding. Nothing is returned.
    kept: a copy of W0 in weight's dtype. old, new: (A, B, alpha) with A (r, k) and B (d, r), parameters in fp32.
    After a hundred swaps the weight must be what the first gives, to the bit.
    """
    raise NotImplementedError
''',
    hint="weight.copy_(...) writes in place and rounds to weight's dtype. Start from what no swap has rounded, and let "
    "autograd see nothing of it.",
    solution="""\
import torch


@torch.no_grad()
def swap_merged(weight, kept, old, new):
    A, B, alpha = new
    weight.copy_(kept + (alpha / A.shape[0]) * (B @ A))
""",
    praise="from the kept copy, rounded once and in place: a hundred swaps leave no trace.",
    reference=_writes(lambda weight, kept, old, new: kept + new),
    probes=(_swapped(4, 4, 4, 4), _swapped(6, 5, 2, 3), _after(1.0, 2048.0, 1.0), _after(2048.0, 0.0, 1.0003), _leaves),
    mistakes=(
        Mistake(
            "you put the new adapter on top of the old one. The old update has to go first.",
            (
                _writes(lambda weight, kept, old, new: weight + new),
                _writes(lambda weight, kept, old, new: kept + old + new),
            ),
        ),
        Mistake(
            "you took the old adapter out and put none in.",
            (_writes(lambda weight, kept, old, new: kept), _writes(lambda weight, kept, old, new: weight - old)),
        ),
        Mistake(
            "the weight is as it was. You made a new one, another copy of the base, and the model still has the old: "
            "write in place, with weight.copy_.",
            (lambda weight, kept, old, new: kept + _delta(*new),),
        ),
        Mistake(
            "you subtracted the old update. What fp16 rounded away does not come back: start from kept.",
            (
                _writes(lambda weight, kept, old, new: weight - old + new),
                _writes(lambda weight, kept, old, new: (weight - old).to(weight.dtype) + new),
            ),
        ),
        Mistake(
            "you changed kept. It is the only exact W0 there is, and the next swap starts from it.",
            (_into_kept, torch.no_grad()(_into_kept)),
        ),
        Mistake("you left the scaling out. The update is (α/r) BA.", (_scaled(lambda old, new: 1),)),
        Mistake("you multiplied by α, not α/r.", (_scaled(lambda old, new: new[2]),)),
        Mistake(
            "you scaled the new adapter as the old one. Each has an α and an r of its own.",
            (
                _scaled(lambda old, new: old[2] / len(old[0])),
                _scaled(lambda old, new: old[2] / len(new[0])),
                _scaled(lambda old, new: new[2] / len(old[0])),
            ),
        ),
        Mistake("you formed AB. The update is BA: (d, r) times (r, k).", (_product(lambda A, B: A @ B),)),
        Mistake("your update is transposed. BA already has the weight's shape.", (_product(lambda A, B: (B @ A).T),)),
        Mistake(
            "you subtracted the new update. Merging adds it.", (_writes(lambda weight, kept, old, new: kept - new),)
        ),
        Mistake("you wrote the update alone. It is added to W0.", (_writes(lambda weight, kept, old, new: new),)),
        Mistake(
            "you rounded the update before adding it. Form the sum in fp32 and round once.",
            (_writes(lambda weight, kept, old, new: kept + new.to(kept.dtype)),),
        ),
        Mistake(
            "autograd recorded your swap: the frozen weight now has a history and asks for a gradient. Use "
            "torch.no_grad, or detached A and B.",
            (_recorded,),
        ),
    ),
)

EXERCISES = (BOTTLENECK_PARAMETERS, SWAP_MERGED)
