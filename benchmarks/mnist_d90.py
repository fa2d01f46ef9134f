"""The intrinsic dimension of MNIST for a fully connected network: d90, published as 750 (Li et al. 2018, 1804.08838).

    python -m benchmarks.mnist_d90 --data mnist.npz

The file holds the arrays x_train (N, 28, 28), y_train (N,), x_test, y_test, pixels from 0 to 255. The network is
784-200-200-10 with D = 199,210 parameters, from random initialisation, with one Fastfood projection over all of them.
The authors' rule for 750 is the first d whose accuracy on the held-out images is 0.90; their own bootstrap spreads from
725 to 900, and against 90% of the network's own accuracy the same code gives 525 to 575. A run that ends between 500
and 900 agrees.

Doubles d until the accuracy is reached, then halves the gap. Prints a line for every run, ends with `d90: N`, and
writes `benchmarks/results/mnist_d90.json`. Without --data it measures nothing. One core is enough: a step takes 4 to
7 ms of it, so the 9,380 steps of 20 epochs of 60,000 images about a minute, and the ten or so runs about ten.
"""

import argparse
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lorabook.errors import DataError
from lorabook.subspace.training import apply_subspace
from lorabook.workbook.intrinsic_dimension.measure import Curve, intrinsic_dimension
from scripts.assets import records

RESULT = Path(__file__).parent / "results" / "mnist_d90.json"
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
WANTED = "Give an .npz file with x_train, x_test (N, 28, 28), pixels 0 to 255, and y_train, y_test (N,), digits 0 to 9."


def load(path: Path) -> list[Tensor]:
    """x_train, y_train, x_test, y_test: images (N, 784) in [0, 1], labels (N,).

    Raises:
        DataError: no such file, or it lacks an array, or holds one of another shape or range.
    """
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is {'no .npz file' if path.exists() else 'not there'}.", WANTED)
    with np.load(path) as stored:
        if missing := [name for name in ARRAYS if name not in stored.files]:
            raise DataError(f"{path} lacks {', '.join(missing)}.", WANTED)
        arrays = [torch.from_numpy(np.ascontiguousarray(stored[name])) for name in ARRAYS]
    for x, y in (arrays[:2], arrays[2:]):
        if not len(x) or x.shape[1:] != (28, 28) or y.shape != x.shape[:1]:
            raise DataError(f"{path} holds images {tuple(x.shape)} with labels {tuple(y.shape)}.", WANTED)
        if not 1 < x.max() <= 255 or x.min() < 0 or y.min() < 0 or y.max() > 9:
            pixels, labels = f"{x.min():g} to {x.max():g}", f"{y.min():g} to {y.max():g}"
            raise DataError(f"{path} holds pixels from {pixels} and labels from {labels}.", WANTED)
    return [a.flatten(1).float() / 255 if a.ndim > 1 else a.long() for a in arrays]


def network(seed: int) -> nn.Sequential:
    """784-200-200-10 with ReLU: He-normal weights and biases of zero, as the authors' code draws them."""
    net = nn.Sequential(nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10))
    generator = torch.Generator().manual_seed(seed)
    for layer in net[::2]:
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
    return net


def accuracy(
    d: int | None, data: list[Tensor], seed: int, epochs: int, batch: int, lr: float, projection: str
) -> float:
    """Accuracy on the held-out images after training in d dimensions (None: all parameters)."""
    x, y, held_x, held_y = data
    model = network(seed)
    subspace = apply_subspace(model, d, seed=seed, projection=projection) if d else None
    trained = [p for _, p in subspace.trained()] if subspace else list(model.parameters())
    optimizer = torch.optim.SGD(trained, lr=lr, momentum=0.9)
    steps = epochs * -(-len(x) // batch)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        for rows in torch.randperm(len(x), generator=generator).split(batch):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            if subspace:
                subspace.pull()
            optimizer.step()
            if subspace:
                subspace.write()
            schedule.step()
    with torch.no_grad():
        return (model(held_x).argmax(1) == held_y).float().mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="an .npz file with the four arrays")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1.0, help="peak learning rate in the subspace")
    parser.add_argument("--line", type=float, default=0.9, help="the accuracy to reach")
    parser.add_argument("--grid", type=int, nargs="+", default=[50, 100, 200, 400, 800, 1600, 3200])
    parser.add_argument("--refine", type=int, default=4, help="how often to halve the gap below d90")
    parser.add_argument("--seeds", type=int, default=1, help="runs at every d; their mean counts")
    parser.add_argument("--projection", choices=("fastfood", "dense"), default="fastfood")
    parser.add_argument("--output", type=Path, default=RESULT)
    args = parser.parse_args()
    if args.data is None:
        print("nothing measured: give --data mnist.npz, a file with the arrays", ", ".join(ARRAYS))
        return
    try:
        data, began = load(args.data), time.monotonic()
    except DataError as error:
        parser.error(str(error))

    def run(d: int | None, seed: int, lr: float) -> float:
        start = time.monotonic()
        reached = accuracy(d, data, seed, args.epochs, args.batch, lr, args.projection)
        name = f"d = {d:,}" if d else "all parameters"
        print(f"{name:15} seed {seed}  accuracy {reached:.4f}  {time.monotonic() - start:.0f} s", flush=True)
        return reached

    own = run(None, 0, 0.1)
    curve = intrinsic_dimension(
        lambda d, seed: run(d, seed, args.lr),
        full=1.0,  # the authors' rule for 750: an accuracy of 0.90, not 90% of the network's own
        line=args.line,
        grid=args.grid,
        seeds=range(args.seeds),
        stop=True,
        refine=args.refine,
    )
    relative = Curve(curve.points, full=own, line=args.line)
    record = {k: v for k, v in vars(args).items() if k not in ("data", "output")} | curve.to_json()
    record |= {"network": own, "d_of_own_accuracy": relative.d, "seconds": time.monotonic() - began}
    record |= {"train": len(data[0]), "held_out": len(data[2])}
    records.write(args.output, "benchmarks/mnist_d90.py", record)
    print(f"against {args.line:.0%} of the network's own {own:.4f}: {relative.d}")
    print(f"d90: {curve.d}")


if __name__ == "__main__":
    torch.set_num_threads(1)  # steps this small gain little from a second, and lose much where it is busy
    main()
