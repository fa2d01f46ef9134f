"""The figures of notebook 06: the butterfly, pictures of M, what P costs, and the scales that SAID learns."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, VERMILION, new_figure, new_panes

GIB = 2**30
BLOCKS = (BLUE, VERMILION, GREEN, ORANGE)
SATURATED = 2.0


def butterfly(stages: Sequence[Sequence[float]]) -> Figure:
    """The transform stage by stage: a column of numbers for each stage, a line for each term of each sum.

    Args:
        stages: the vector before the first stage and after each; n numbers in each of log2(n) + 1.
    """
    figure, axes = new_figure(7.0, 4.4)
    n = len(stages[0])
    for stage in range(len(stages) - 1):
        h = 2**stage
        for place in range(n):
            upper = place & ~h  # the first of the pair that `place` belongs to
            for source in (upper, upper | h):
                minus = source == place != upper
                colour, style = (VERMILION, "--") if minus else (BLUE, "-")
                axes.plot([stage + 0.13, stage + 0.87], [source, place], style, color=colour, lw=1.2)
    for stage, numbers in enumerate(stages):
        for place, number in enumerate(numbers):
            axes.text(stage, place, f"{number:g}".replace("-", "−"), ha="center", va="center")
    axes.plot([], [], "-", color=BLUE, label="added")
    axes.plot([], [], "--", color=VERMILION, label="subtracted")
    axes.legend(frameon=False, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.12))
    axes.set_xticks(range(len(stages)), ["x", *(f"h = {2**i}" for i in range(len(stages) - 1))])
    axes.set_yticks(range(n))
    axes.set(xlim=(-0.3, len(stages) - 0.7), ylim=(n - 0.4, -0.6), xlabel="stage, distance of a pair", ylabel="place")
    axes.set_title(f"{len(stages) - 1} stages, {(len(stages) - 1) * n} additions: Hx of {n} numbers")
    return figure


def pictures(matrices: Mapping[str, Tensor], accuracies: Mapping[str, Sequence[float]], d: int) -> Figure:
    """M and what is left of it, side by side, with the accuracies reached in its subspace beneath each.

    Args:
        matrices: M by what is switched off ("" for nothing). The colours of each end at twice the root mean square
            of its entries that are not zero.
        accuracies: under the same names, the accuracy for each seed.
        d: the dimension they were trained in.
    """
    figure = Figure(figsize=(8.0, 6.9), layout=ConstrainedLayoutEngine(h_pad=0.1), facecolor="white")
    across = -(-len(matrices) // 2)
    for place, (axes, (off, M)) in enumerate(zip(figure.subplots(2, across).flat, matrices.items())):
        top = SATURATED * M[M != 0].square().mean().sqrt().item()
        axes.imshow(M.numpy(), cmap="PuOr", vmin=-top, vmax=top, interpolation="nearest")
        axes.set_title(f"{' and '.join(off)} off" if off else "H G Π H B", fontsize=11)
        axes.set_xticks([0, M.shape[1] - 1])
        axes.set_yticks([0, M.shape[0] - 1])
        low, mean, high = spread(accuracies[off])
        axes.set_xlabel(f"column\naccuracy {mean:.0%} ({low:.0%} to {high:.0%})", fontsize=10)
        if place % across == 0:
            axes.set_ylabel("row", fontsize=10)
    figure.suptitle(f"Any one of B, G and Π may go; G and Π together may not, nor may H (d = {d})")
    return figure


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Least, mean and greatest."""
    return min(values), sum(values) / len(values), max(values)


def cost(
    dimensions: Sequence[int],
    operations: Mapping[str, Sequence[float]],
    sizes: Mapping[str, Sequence[float]],
    here: int,
    limits: Mapping[str, float],
) -> Figure:
    """Operations of one product with P, and bytes of P, over d, both axes logarithmic.

    Args:
        operations, sizes: by the name of the projection, one number for each of `dimensions`; sizes in bytes.
        here: a dimension to mark.
        limits: bytes by the name of a machine, as lines in the panel of the sizes.
    """
    figure, (left, right) = new_panes(8.4, 3.7)
    gib = {name: [size / GIB for size in line] for name, line in sizes.items()}
    for axes, lines, label in ((left, operations, "operations for P θ"), (right, gib, "P in memory (GiB)")):
        _log_lines(axes, dimensions, lines)
        axes.axvline(here, color=GREY, lw=1)
        axes.annotate(f" d = {here:,}", (here, 0.02), xycoords=("data", "axes fraction"), fontsize=9)
        axes.set(xlabel="dimension d of the subspace", ylabel=label)
    for name, size in limits.items():
        right.axhline(size / GIB, color="black", lw=1, ls=":")
        right.annotate(name, (dimensions[0], size / GIB), xytext=(2, 3), textcoords="offset points", fontsize=9)
    left.legend(frameon=False, loc="upper left")
    figure.suptitle("A dense P grows in step with d, Fastfood stays nearly flat")
    return figure


def _log_lines(axes: Axes, x: Sequence[int], lines: Mapping[str, Sequence[float]]) -> None:
    for (name, line), colour, style in zip(lines.items(), (VERMILION, BLUE), ("--", "-")):
        axes.plot(x, line, style, color=colour, lw=2, label=name)
    axes.set_xscale("log")
    axes.set_yscale("log")


def scales(lambdas: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """SAID's scales: a row for each kind of tensor, in it a group for each block, in that a point for each seed.

    Args:
        lambdas: by the name of the tensor, for each block the scale at each seed.
    """
    figure, axes = new_figure(7.6, 3.8)
    for row, blocks in enumerate(lambdas.values()):
        if row:
            axes.axhline(row - 0.5, color="#dddddd", lw=0.8)
        for block, values in enumerate(blocks):
            place = row + 0.18 * (block - (len(blocks) - 1) / 2)
            colour = BLOCKS[block % len(BLOCKS)]
            axes.plot(values, [place] * len(values), "o", color=colour, ms=5, alpha=0.8)
            axes.plot([sum(values) / len(values)], [place], "|", color=colour, ms=13, mew=2)
        if row == 0:
            for block in range(len(blocks)):
                axes.plot([], [], "o", color=BLOCKS[block % len(BLOCKS)], label=f"block {block}")
    axes.axvline(1, color=GREY, lw=1)
    axes.set_yticks(range(len(lambdas)), list(lambdas))
    axes.invert_yaxis()
    axes.set(xlabel="scale λ after training (all start at 1); a point is a seed, a bar the mean")
    axes.set_title("The scale of one matrix differs widely from seed to seed")
    axes.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure
