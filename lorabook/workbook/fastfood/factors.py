"""What each factor of Fastfood's M = H G Pi H B is for: switch it off, and train a small network in what is left.

    columns(L, d, seed, off)    the first d columns of M, without the factors named in `off`
    unit(M)                     M over the root mean square of its columns' lengths, so that a unit step is a unit step
    train(P, start, x, y)       theta_d, trained so that start + P theta_d classifies x as y

The network has one hidden layer of ReLUs and is a function of one vector theta in R^D, so that theta0 + P theta_d can
be written as it is in the paper (Li et al. 2018, arXiv 1804.08838).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorabook.errors import SettingError
from lorabook.subspace.fastfood import FastfoodProjection, fwht

SWITCHED_OFF = ("", "B", "G", "Π", "GΠ", "1", "2", "H")  # the whole product, and what is switched off in turn
INPUTS, HIDDEN, CLASSES = 64, 64, 10
SHAPES = ((HIDDEN, INPUTS), (HIDDEN,), (CLASSES, HIDDEN), (CLASSES,))
SIZES = tuple(math.prod(shape) for shape in SHAPES)
D = sum(SIZES)  # 4,810


def columns(L: int, d: int, seed: int, off: str = "") -> Tensor:
    """The first d columns of H G Pi H B of size L, shape (L, d), without the factors whose letters stand in `off`.

    A factor that is off is the identity; "H" switches both transforms off, "1" the first one, which acts before Pi,
    and "2" the other. The factors are those that `FastfoodProjection(L, L, seed)` draws, so the whole product is `c`
    times its P.

    Raises:
        SettingError: a letter that is none of B, G, Π, 1, 2, H; d out of its range.
    """
    if unknown := set(off) - set("BGΠ12H"):
        raise SettingError(f"There is no factor {min(unknown)!r}.", "Choose among B, G, Π, 1, 2 and H.")
    p = FastfoodProjection(L, L, seed)
    if not 1 <= d <= L:
        raise SettingError(f"d is {d!r}.", f"Choose a whole number from 1 to L = {L}.")
    z = torch.eye(d, L) * (1 if "B" in off else p.B)  # row i holds column i of M
    z = fwht(z) if set(off).isdisjoint("1H") else z
    z = z if "Π" in off else z[:, p.gather]
    z = z * (1 if "G" in off else p.G)
    return (fwht(z) if set(off).isdisjoint("2H") else z).T


def unit(M: Tensor) -> Tensor:
    """M scaled so that the mean square length of its columns is 1."""
    return M / M.square().sum(0).mean().sqrt()


def start(seed: int) -> Tensor:
    """theta0, shape (D,): weights and biases as `nn.Linear` draws them. The global random state is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, CLASSES)
    return torch.cat([p.detach().flatten() for layer in layers for p in layer.parameters()])


def logits(theta: Tensor, x: Tensor) -> Tensor:
    """The network with the parameters theta (D,) applied to x (n, 64): (n, 10)."""
    W1, b1, W2, b2 = (part.view(shape) for part, shape in zip(theta.split(SIZES), SHAPES))
    return F.linear(F.relu(F.linear(x, W1, b1)), W2, b2)


def train(P: Tensor, theta0: Tensor, x: Tensor, y: Tensor, steps: int = 150, lr: float = 0.1) -> Tensor:
    """theta_d (d,) after `steps` of Adam on all of x at once, from zero, the rate lowered along a cosine to zero."""
    theta = torch.zeros(P.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(logits(theta0 + P @ theta, x), y).backward()
        optimizer.step()
        schedule.step()
    return theta.detach()


def accuracy(theta: Tensor, x: Tensor, y: Tensor) -> float:
    """The share of x that the network with the parameters theta puts into its class."""
    return (logits(theta, x).argmax(1) == y).float().mean().item()
