"""Wrong answers to the exercises of notebook 05, as people write them."""

import math

import torch

from tests.workbook.mistake_bank import Bank

bank = Bank()
wrong = bank.wrong

# project_up


def zeros(R):
    return torch.zeros(R.shape[1], dtype=R.dtype)


def unit(R):
    return torch.nn.functional.normalize(R.detach(), dim=0)


@wrong("project_up", "do not have length 1")
def columns_not_unit(theta0, R, theta_d):
    return theta0 + torch.mv(R.detach(), zeros(R) if theta_d is None else theta_d)


@wrong("project_up", "norm of the whole matrix")
def matrix_normalised(theta0, R, theta_d):
    P = (R / torch.linalg.norm(R)).detach()
    return theta0 + P @ (zeros(R) if theta_d is None else theta_d)


@wrong("project_up", "scaled the rows")
def rows_normalised(theta0, R, theta_d):
    P = torch.nn.functional.normalize(R.detach())  # its default is dim=1
    return theta0 + P @ (zeros(R) if theta_d is None else theta_d)


@wrong("project_up", "by √D")
def divided_by_root_of_size(theta0, R, theta_d):
    P = R.detach() / math.sqrt(R.shape[0])
    return theta0 + P @ (zeros(R) if theta_d is None else theta_d)


@wrong("project_up", "by √D")
def divided_by_spread_and_root_of_size(theta0, R, theta_d):
    P = R.detach() / (R.detach().std(0) * math.sqrt(R.shape[0]))
    return theta0 + P @ (zeros(R) if theta_d is None else theta_d)


@wrong("project_up", "orthogonal as well")
def orthonormal(theta0, R, theta_d):
    Q, _ = torch.linalg.qr(R.detach())
    return theta0 + Q @ (zeros(R) if theta_d is None else theta_d)


@wrong("project_up", "left theta0 out")
def offset_forgotten(theta0, R, theta_d):
    return unit(R) @ (zeros(R) if theta_d is None else theta_d)


@wrong("project_up", "applied P to theta0")
def start_projected_down_and_up(theta0, R, theta_d):
    theta_d = zeros(R) if theta_d is None else theta_d
    return unit(R) @ (unit(R).T @ theta0 + theta_d)


@wrong("project_up", "subtracted")
def subtracted(theta0, R, theta_d):
    return theta0 - unit(R) @ (zeros(R) if theta_d is None else theta_d)


@wrong("project_up", "does not start at zero")
def random_start(theta0, R, theta_d):
    if theta_d is None:
        theta_d = 0.02 * torch.randn(R.shape[1], dtype=R.dtype)
    return theta0 + unit(R) @ theta_d


@wrong("project_up", "no gradient reaches theta_d")
def without_gradients(theta0, R, theta_d):
    with torch.no_grad():
        return theta0 + R / R.norm(dim=0) @ (zeros(R) if theta_d is None else theta_d)


@wrong("project_up", "a gradient reaches R")
def projection_trained(theta0, R, theta_d):
    P = R / R.norm(dim=0)
    return theta0 + P @ (zeros(R) if theta_d is None else theta_d)


@wrong("project_up", "theta0 in place")
def written_into_the_start(theta0, R, theta_d):
    if theta_d is None:
        return theta0.clone()
    theta0 += unit(R) @ theta_d
    return theta0


# read_d90


def shares(runs, model):
    run = runs[model]
    fall = run["start"] - run["full"]
    return {d: (run["start"] - loss) / fall for d, loss in sorted(run["curve"].items())}


@wrong("read_d90", "largest d below")
def last_below(runs, model):
    best = None
    for d, share in shares(runs, model).items():
        if share < 0.9:
            best = d
    return best


@wrong("read_d90", "another model")
def baseline_of_the_pretrained(runs, model):
    start, full = runs[model]["start"], runs["pretrained"]["full"]
    return min((d for d, y in runs[model]["curve"].items() if start - y >= 0.9 * (start - full)), default=None)


@wrong("read_d90", "another model")
def always_the_pretrained(runs, model):
    return min((d for d, share in shares(runs, "pretrained").items() if share >= 0.9), default=None)


@wrong("read_d90", "largest d on the line")
def largest_above(runs, model):
    return max((d for d, share in shares(runs, model).items() if share >= 0.9), default=None)


@wrong("read_d90", "lowest loss")
def best_d(runs, model):
    curve = runs[model]["curve"]
    return next(d for d in curve if curve[d] == min(curve.values()))


@wrong("read_d90", "not falls")
def share_of_the_loss(runs, model):
    full = runs[model]["full"]
    return min((d for d, y in runs[model]["curve"].items() if full / y >= 0.9), default=None)


@wrong("read_d90", "not falls")
def ten_percent_above_full(runs, model):
    return min((d for d, y in runs[model]["curve"].items() if y <= runs[model]["full"] * 1.1), default=None)


@wrong("read_d90", "not falls")
def tenth_below_the_start(runs, model):
    return min((d for d, y in runs[model]["curve"].items() if y <= runs[model]["start"] * 0.9), default=None)


@wrong("read_d90", "comes first")
def first_in_the_dictionary(runs, model):
    run = runs[model]
    for d, loss in run["curve"].items():
        if (run["start"] - loss) / (run["start"] - run["full"]) >= 0.9:
            return d


@wrong("read_d90", "meets the line exactly")
def above_the_line_only(runs, model):
    return next((d for d, share in shares(runs, model).items() if share > 0.9), None)


@wrong("read_d90", "though none reaches")
def largest_tried_if_none(runs, model):
    return min((d for d, share in shares(runs, model).items() if share >= 0.9), default=max(runs[model]["curve"]))
