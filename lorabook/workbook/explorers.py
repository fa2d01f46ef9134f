"""The explorers, each from the room of its notebook."""

from lorabook.workbook.fastfood.explorer import FastfoodExplorer
from lorabook.workbook.from_scratch.explorer import FadingExplorer
from lorabook.workbook.intrinsic_dimension.explorer import SubspaceExplorer
from lorabook.workbook.kit.explorer import Explorer
from lorabook.workbook.low_rank.explorer import RankExplorer
from lorabook.workbook.many_tasks.explorer import ServingExplorer
from lorabook.workbook.memory.explorer import MemoryExplorer
from lorabook.workbook.rank_and_alpha.explorer import LoRAExplorer
from lorabook.workbook.start.explorer import StartExplorer

__all__ = [
    "Explorer",
    "FadingExplorer",
    "FastfoodExplorer",
    "LoRAExplorer",
    "MemoryExplorer",
    "RankExplorer",
    "ServingExplorer",
    "StartExplorer",
    "SubspaceExplorer",
]
