"""What is alive in memory when a training step peaks, by component."""

from lorabook.memory.estimate import Estimate
from lorabook.workbook.kit.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION

ACTIVATIONS, WORKSPACE, MASK = "activations and loss", "optimizer's workspace", "attention mask etc."
COLOURS = {
    "frozen weights": GREY,
    MASK: SKY,
    "trainable weights": BLUE,
    "optimizer state": ORANGE,
    "gradients": VERMILION,
    ACTIVATIONS: GREEN,
    WORKSPACE: PURPLE,
}


def at_peak(found: Estimate) -> dict[str, int]:
    """The bytes alive at the fullest moment, by the names of COLOURS.

    What the model keeps in buffers, mostly the attention mask, is one component. Gradients are counted where all of
    them are there, at the end of the backward pass and in the optimizer step. What is neither weights nor state nor
    gradients is the optimizer's workspace in its step, and activations and loss else.
    """
    moment = max(found.moments, key=lambda moment: found.moments[moment])
    part = found.components
    parts = {"frozen weights": part["frozen weights"], MASK: part["buffers"]}
    parts |= {name: part[name] for name in ("trainable weights", "optimizer state")}
    parts["gradients"] = part["gradients"] if moment in ("end of backward", "optimizer step") else 0
    rest = found.moments[moment] - sum(parts.values())
    return parts | {ACTIVATIONS: 0, WORKSPACE: 0} | {WORKSPACE if moment == "optimizer step" else ACTIVATIONS: rest}
