"""Right answers to the exercises of notebook 05, as people write them."""

import numpy as np
import torch
import torch.nn.functional as F

from tests.workbook.mistake_bank import Spellings

spellings = Spellings()
right, add = spellings.right, spellings.add


# project_up


@right("project_up")
def by_normalize(theta0, R, theta_d):
    P = F.normalize(R.detach(), dim=0)
    return theta0 + P @ (torch.zeros(R.shape[1], dtype=R.dtype) if theta_d is None else theta_d)


@right("project_up")
def scaled_afterwards(theta0, R, theta_d):
    if theta_d is None:
        return theta0.clone()
    with torch.no_grad():
        lengths = (R**2).sum(0).sqrt()
    return theta0 + R.detach() @ (theta_d / lengths.detach())


@right("project_up")
def column_by_column(theta0, R, theta_d):
    total = theta0.clone()
    if theta_d is not None:
        for i in range(R.shape[1]):
            column = R[:, i].detach()
            total = total + theta_d[i] * column / column.norm()
    return total


@right("project_up")
def by_einsum(theta0, R, theta_d):
    if theta_d is None:
        theta_d = torch.zeros_like(R[0])
    P = R.detach() / torch.linalg.vector_norm(R.detach(), dim=0, keepdim=True)
    return torch.einsum("Dd,d->D", P, theta_d) + theta0


@right("project_up")
def by_a_loop_over_parameters(theta0, R, theta_d):
    with torch.no_grad():
        P = R / R.norm(dim=0)
    theta_d = torch.zeros(P.shape[1]) if theta_d is None else theta_d
    return torch.stack([theta0[i] + (P[i] * theta_d).sum() for i in range(len(theta0))])


# read_d90


@right("read_d90")
def smallest_first(runs, model):
    run = runs[model]
    for d, loss in sorted(run["curve"].items()):
        if run["start"] - loss >= 0.9 * (run["start"] - run["full"]):
            return d
    return None


@right("read_d90")
def by_a_threshold(runs, model):
    run = runs[model]
    threshold = run["start"] + 0.9 * (run["full"] - run["start"])
    best = None
    for d in run["curve"]:
        if run["curve"][d] <= threshold and (best is None or d < best):
            best = d
    return best


@right("read_d90")
def by_arrays(runs, model):
    run = runs[model]
    d, loss = np.array(list(run["curve"])), np.array(list(run["curve"].values()))
    reached = d[(run["start"] - loss) / (run["start"] - run["full"]) >= 0.9]
    return reached.min() if len(reached) else None
