"""Training a model inside a random subspace of its parameters (Li et al. 2018, arXiv 1804.08838).

DID:   theta = theta0 + P theta_d                      theta, theta0 in R^D, theta_d in R^d
SAID:  theta_i = theta0_i + lambda_i (P theta_{d-m})_i    for each of the m parameter tensors

theta0 is the model as it stands, theta_d starts at zero, P is fixed. Nothing is ever projected down: theta_d is what
is trained, and P carries it up. SAID ("structure-aware", Aghajanyan et al. 2020, arXiv 2012.13255) adds a trained scale
for every parameter tensor, starting at 1 and paid for out of the same d. There is one P for the whole model, cut into
tensors, so its columns have unit length over all of them together.

    subspace = apply_subspace(model, d=1000)
    finetune(model, train, held_out, config)      # trains theta_d; or, in a loop of one's own, at every step:

    loss.backward()                               # into the model's own parameters, as ever
    subspace.pull()                               # theta_d.grad = P^T grad
    optimizer.step()                              # over what subspace.trained() names
    subspace.write()                              # theta0 + P theta_d into the parameters, in place

The parameters stay ordinary leaves that are written to between steps, so that activation checkpointing recomputes with
the weights of the forward pass, and a tied head, one tensor in two places, gets the sum of both gradients.
"""

from typing import Any, Literal

import torch
from torch import nn

from lorabook.errors import SettingError, is_whole
from lorabook.subspace.fastfood import FastfoodProjection
from lorabook.subspace.projection import DenseProjection

PROJECTIONS = {"fastfood": FastfoodProjection, "dense": DenseProjection}


class Subspace:
    """A model's parameters theta as a function of d numbers. Made by `apply_subspace`, found by `subspace_of`.

    Attributes: `d` all trained numbers, `D` the parameters they move, each tensor counted once; `theta` of shape (d,),
    or (d - m,) with SAID; `lambdas` of shape (m,), or None with DID; `projection`; `theta0`, a copy of every parameter
    by name; `moved`, those parameters themselves. Beyond the model it holds O(D) numbers.
    """

    def __init__(self, moved: dict[str, nn.Parameter], d: int, method: str, seed: int, projection: str):
        self.moved, self.method, self.seed, self.d = moved, method, seed, d
        self.D = sum(p.numel() for p in moved.values())
        m = len(moved) if method == "said" else 0
        if not is_whole(d, m + 1, self.D):
            spent = f", of which {m} are spent on its scales" if m else ""
            raise SettingError(
                f"The dimension d is {d!r}{spent}.",
                f"Give a whole number from {m + 1} to D = {self.D:,}, the number of parameters.",
            )
        first = next(iter(moved.values()))
        dtype, device = first.dtype, first.device
        self.theta0 = {name: p.detach().clone() for name, p in moved.items()}
        self.projection = PROJECTIONS[projection](d - m, self.D, seed).to(device)
        self.theta = nn.Parameter(torch.zeros(d - m, dtype=dtype, device=device))
        self.lambdas = nn.Parameter(torch.ones(m, dtype=dtype, device=device)) if m else None
        self._lifted = torch.zeros(self.D if m else 0, dtype=dtype, device=device)  # P theta, as last written

    def trained(self) -> list[tuple[str, nn.Parameter]]:
        """Name and tensor of what an optimizer trains: d numbers in all."""
        named = [("subspace.theta", self.theta)]
        return named if self.lambdas is None else [*named, ("subspace.lambdas", self.lambdas)]

    @torch.no_grad()
    def write(self) -> None:
        """Write theta0 + P theta (SAID: theta0_i + lambda_i (P theta)_i) into the parameters, in place.

        To be called whenever theta or lambdas have changed, and never between a forward pass and its backward pass.

        Raises:
            SettingError: the model has moved to another device.
        """
        for name, p in self.moved.items():
            if p.device != self.theta.device:
                raise SettingError(
                    f"The parameter {name} is on {p.device}, its subspace on {self.theta.device}.",
                    "Move the model first, then call apply_subspace.",
                )
        lifted = self.projection(self.theta)
        if self.lambdas is not None:
            self._lifted = lifted
        for i, (p, start, piece) in enumerate(zip(self.moved.values(), self.theta0.values(), self._cut(lifted))):
            torch.add(start, piece if self.lambdas is None else self.lambdas[i] * piece, out=p)

    @torch.no_grad()
    def pull(self) -> None:
        """Turn the gradients of the parameters into those of theta and lambdas, and drop the former.

        theta.grad = P^T grad; with SAID, theta.grad = P^T (lambda_i grad_i) and lambda_i.grad = <grad_i, (P theta)_i>.
        Linear in the gradients, so one call after the last backward pass of an accumulated step is enough. It replaces
        gradients of theta and lambdas that are there.

        Raises:
            SettingError: no parameter has a gradient.
        """
        parameters = list(self.moved.values())
        if all(p.grad is None for p in parameters):
            raise SettingError("No parameter of the model has a gradient.", "Call backward() before pull().")
        grads = [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters]
        if self.lambdas is not None:
            lifted = self._lifted.split([p.numel() for p in parameters])
            self.lambdas.grad = torch.stack([g @ piece for g, piece in zip(grads, lifted)])
            grads = [scale * g for scale, g in zip(self.lambdas, grads)]
        flat = torch.cat(grads)
        for p in parameters:
            p.grad = None
        self.theta.grad = self.projection.adjoint(flat)

    def _cut(self, flat: torch.Tensor) -> list[torch.Tensor]:
        pieces = flat.split([p.numel() for p in self.moved.values()])
        return [piece.view_as(p) for piece, p in zip(pieces, self.moved.values())]

    def __repr__(self) -> str:
        return f"Subspace({self.method}, d={self.d}, D={self.D}, {type(self.projection).__name__}, seed={self.seed})"


def apply_subspace(
    model: nn.Module,
    d: int,
    method: Literal["did", "said"] = "did",
    seed: int = 0,
    projection: Literal["fastfood", "dense"] = "fastfood",
) -> Subspace:
    """Let `model` move only in a random d-dimensional subspace around where it stands. Changes no weight.

    Every parameter that requires a gradient is moved, tensors that modules share once; the others stay where they are.
    The result is kept at `model.subspace`, where `finetune` finds it.

    Args:
        d: how many numbers are trained, with SAID the scales among them.
        method: "did", one projection and nothing else, or "said", with a trained scale for every parameter tensor.
        seed: of the projection.
        projection: "fastfood", O(D) memory, or "dense", d * D numbers.

    Raises:
        SettingError: the model has a subspace already, nothing requires a gradient, the parameters are not all float32
            (or all float64) on one device, an unknown method or projection, d out of its range.
    """
    if subspace_of(model) is not None:
        raise SettingError("This model already has a subspace.", "Call remove_subspace(model) first.")
    for name, value, known in (("method", method, ("did", "said")), ("projection", projection, tuple(PROJECTIONS))):
        if value not in known:
            raise SettingError(f"The {name} is {value!r}.", f"Choose among {', '.join(known)}.")
    moved = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not moved:
        raise SettingError("No parameter of this model requires a gradient.", "Call model.requires_grad_() first.")
    kinds = {(p.dtype, str(p.device)) for p in moved.values()}
    if len(kinds) > 1 or not {dtype for dtype, _ in kinds} <= {torch.float32, torch.float64}:
        found = ", ".join(sorted(f"{str(dtype).removeprefix('torch.')} on {device}" for dtype, device in kinds))
        raise SettingError(f"The parameters are {found}.", "Load the model in float32, on one device.")
    subspace = Subspace(moved, d, method, seed, projection)
    host: Any = model
    host.subspace = subspace
    return subspace


def remove_subspace(model: nn.Module, restore: bool = True) -> None:
    """Make `model` an ordinary model again: with theta0, bit for bit, or as it was trained with `restore=False`.

    Raises:
        SettingError: the model has no subspace.
    """
    subspace = subspace_of(model)
    if subspace is None:
        raise SettingError("This model has no subspace.", "There is nothing to remove.")
    with torch.no_grad():
        for name, p in subspace.moved.items():
            p.grad = None
            if restore:
                p.copy_(subspace.theta0[name])
    del model.subspace


def subspace_of(model: nn.Module) -> Subspace | None:
    """The subspace that `model` is trained in, or None."""
    return getattr(model, "subspace", None)
