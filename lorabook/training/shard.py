"""A model cut into shards, one for each process, for a base too large for one GPU (FSDP2, PyTorch's `fully_shard`).

Of every parameter, its gradient and its optimizer state a process holds 1/N, N being the number of processes (ZeRO-3,
Rajbhandari et al. 2020, arXiv 1910.02054). The parameters of a block are gathered when it runs, forward or backward,
and dropped after it. Every process sees batches of its own, and the gradients are averaged, as under DDP.
"""

from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from lorabook.errors import SettingError
from lorabook.models.in_files import dtype_to_read, mark_read
from lorabook.models.quantized import packed_layers
from lorabook.step.loss import AnswerLoss
from lorabook.subspace.training import subspace_of


def check_shardable(model: nn.Module, processes: int) -> None:
    """Refuse a model that cannot be sharded.

    Raises:
        SettingError: what `refuse_sharding` raises; a subspace; a model that names no blocks.
    """
    refuse_sharding(processes, packed=next(packed_layers(model), None) is not None)
    if subspace_of(model) is not None:
        raise SettingError(
            "A subspace keeps a whole copy of the parameters that it moves, so shards would save nothing.",
            "Leave shard off.",
        )
    if not blocks_of(model):
        raise SettingError(
            f"{type(model).__name__} does not name the blocks that would be sharded (`_no_split_modules`).",
            "Leave shard off, or choose another model.",
        )


def refuse_sharding(processes: int, packed: bool) -> None:
    """SettingError where one process has nobody to share with, or linear layers are `packed` in 4 bits."""
    if processes == 1:
        raise SettingError(
            "shard is on, and there is one process only.",
            "Start several with torchrun --nproc-per-node or accelerate launch --multi_gpu, or leave shard off.",
        )
    if packed:
        raise SettingError(
            "A base in 4 bits cannot be sharded: bitsandbytes packs a weight as bytes beside scales for 64 values "
            "each, and FSDP would cut the bytes and not the scales.",
            "Give either quantize='nf4' or shard.",
        )


def blocks_of(model: Any) -> list[nn.Module]:
    """The transformer blocks: the modules that transformers says must not be split over devices."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [m for m in model.modules() if type(m).__name__ in names and any(True for _ in m.parameters())]


def shard(loss: AnswerLoss, device: torch.device) -> None:
    """Cut `loss.model` into shards on `device`, one for each process of the process group, in place.

    Block by block: a weight comes whole to the device when its block is cut and is gone before the next, so that no
    process ever holds the whole base there. Frozen weights that were in their files get the dtype that they were loaded
    for. What is outside of the blocks, such as the embeddings and a head tied to them, is one more piece, the last.
    Afterwards `loss(...)` and `loss.check()` gather what they need. Of the model itself every parameter is another
    one than before, a DTensor.
    """
    from torch.distributed.device_mesh import init_device_mesh

    model, processes = loss.model, torch.distributed.get_world_size()
    mesh, dtype = init_device_mesh(device.type, (processes,)), dtype_to_read(model)
    for piece in (*blocks_of(model), loss):
        for p in piece.parameters():
            if dtype and not p.requires_grad and not hasattr(p, "full_tensor"):
                p.data = p.data.to(dtype)
        # the last piece is not kept whole between forward passes: it would miss what a checkpoint brings
        fully_shard(piece, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(loss, "check")
    mark_read(model)
