"""The explorers: one widget a file, each a thin shell on two pure functions of its state."""

from lorabook.workbook.explorers.base import Explorer
from lorabook.workbook.explorers.lora import LoRAExplorer
from lorabook.workbook.explorers.memory import MemoryExplorer
from lorabook.workbook.explorers.rank import RankExplorer
from lorabook.workbook.explorers.serving import ServingExplorer
from lorabook.workbook.explorers.start import StartExplorer
from lorabook.workbook.explorers.subspace import SubspaceExplorer

__all__ = [
    "Explorer",
    "LoRAExplorer",
    "MemoryExplorer",
    "RankExplorer",
    "ServingExplorer",
    "StartExplorer",
    "SubspaceExplorer",
]
