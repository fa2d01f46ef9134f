"""The Rank explorer: what is left at rank r of a picture, of an update ΔW, and of what the updated model answers."""

from dataclasses import dataclass
from functools import cache
from statistics import fmean
from typing import Any

import torch.nn.functional as F

from lorabook.workbook.kit.controls import buttons, slider
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.kit.stored import stored
from lorabook.workbook.low_rank.figures import picture
from lorabook.workbook.low_rank.recovery import recoveries
from lorabook.workbook.low_rank.svd import energy_kept, low_rank, spectrum

RANKS = (1, 4, 16, 64)
UPDATES = {  # what is added to SmolLM2's weights before it answers
    "ΔW's first r terms": "truncated",
    "LoRA trained at rank r": "LoRA",
    "all of ΔW": "full",
}
QUESTIONS = {
    43166571: "How do I find all nodes of a Python AST that belong to one variable?",
    54717062: "How do I find out which files of a list already exist in a folder?",
    44348379: "What does this recursive function with a bit shift compute?",
}
GREYS = 60  # levels from black to white; each is drawn from one character, chr(35 + level)


@dataclass(frozen=True)
class RankState:
    """The rank, the update with which SmolLM2 answers, and the number of the question."""

    r: int = 1
    update: str = "LoRA"
    question: int = 1


class RankExplorer(Explorer):
    """Rank and update → the picture at that rank, what SmolLM2's updates recover there, and an answer."""

    def __init__(self) -> None:
        asked = stored("low_rank", "answers")["questions"]
        controls = {
            "r": slider("rank r", {str(r): r for r in RANKS}),
            "update": buttons("update", UPDATES),
            "question": buttons("question", {str(i + 1): i for i in range(len(asked))}),
        }
        super().__init__("low_rank/explorer.js", controls, RankState(), shown, data=data())


def data() -> dict[str, Any]:
    """What explorer.js needs: the pictures, and of every rank the recoveries and the answers."""
    found = stored("low_rank", "answers")
    return {
        "pictures": found["pictures"],
        "kept": {str(r): picture_energy(r) for r in RANKS},
        "energy": {str(r): energy(r) for r in RANKS},
        "recovery": {str(r): percentages(r) for r in RANKS},
        "titles": [title(asked) for asked in found["questions"]],
        "answers": found["answers"],
    }


def title(asked: dict[str, Any]) -> str:
    """What a question asks, in our words; its stored title comes from the post's address, and is cut."""
    return QUESTIONS[asked["question_id"]]


@cache
def percentages(r: int) -> dict[str, int]:
    """Recovery of SmolLM2 in percent, by update, means of three seeds; LoRA is there at the ranks that have answers."""
    answered = stored("low_rank", "answers")["answers"]["LoRA"]
    found = recoveries("smollm2")
    return {way: round(100 * by_rank[r]) for way, by_rank in found.items() if way != "LoRA" or str(r) in answered}


@cache
def energy(r: int) -> float:
    """The fraction of ΔW's energy in its first r terms, a mean of three seeds."""
    return fmean(run["energy"][str(r)] for run in stored("low_rank", "controls")["models"]["smollm2"]["runs"])


@cache
def picture_energy(r: int) -> str:
    return f"{100 * energy_kept(spectrum(picture()), r):.1f}%"


def levels(r: int) -> str:
    """The picture at rank r, two by two pixels as one: a character for the grey level of each, row by row.

    They are stored with the answers, since the last digits of a decomposition differ between machines.
    """
    near = F.avg_pool2d(low_rank(picture().double(), r)[None], 2)[0].clamp(0, 1)
    return "".join(chr(35 + level) for level in (near * GREYS).round().int().flatten().tolist())


def answer(state: RankState) -> str | None:
    """What SmolLM2 answers with the update; None if it isn't stored, as for LoRA at r = 64."""
    said = stored("low_rank", "answers")["answers"][state.update]
    if isinstance(said, dict):
        said = said.get(str(state.r))
    return said[state.question] if said else None


def at_rank(label: str, r: int) -> str:
    """A label with its rank filled in."""
    return label.replace("rank r", f"rank {r}").replace("first r terms", f"first {r} terms" if r > 1 else "first term")


def shown(state: RankState) -> dict[str, Any]:
    """The picture, the recoveries, the answer before training, and the answer with the update."""
    r, found, said = state.r, percentages(state.r), stored("low_rank", "answers")
    trained = f"LoRA {found['LoRA']}%, " if "LoRA" in found else ""
    names = {update: at_rank(label, r) for label, update in UPDATES.items()}
    return {
        "title": f"Recovery at rank {r}: {trained}{names['truncated']} {found['truncated']}%",
        "readout": f"At rank {r}, the picture keeps {picture_energy(r)} of its energy. In SmolLM2-135M, ΔW keeps "
        f"{100 * energy(r):.0f}% of its energy, and the recovery is {found['truncated']}%. With all of ΔW, "
        f"scaled down to that energy, it is {found['scaled']}%.",
        "r": r,
        "picture": said["pictures"][str(r)],
        "recovery": found,
        "question": title(said["questions"][state.question]),
        "before": said["answers"]["base"][state.question],
        "update": f"With {names[state.update]} added to the weights:",
        "answer": answer(state) or "(This answer isn't stored.)",
    }
