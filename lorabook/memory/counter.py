"""Counting memory by what tensors hold: every live storage once, whoever shares it, on any device, meta included."""

import weakref
from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class StorageCounter(TorchDispatchMode):
    """While active, adds up the bytes of live tensor storages: `live` now, `peak` at most so far, `timeline` after each
    operator since it was last emptied.

    Counts the `tracked` tensors and every tensor that an operator returns, each storage once however many views it
    has, from its first appearance until Python and autograd let go of it. Memory that an operator uses and frees
    inside itself is not seen, nor what an allocator rounds up or keeps for later.

        with StorageCounter(model.parameters()) as counter:
            step()
        counter.peak
    """

    def __init__(self, tracked: Iterable[Tensor] = ()):
        super().__init__()
        self.live = self.peak = 0
        self.timeline: list[int] = []
        self._sizes: dict[int, int] = {}
        for tensor in tracked:
            self.add(tensor)

    def add(self, tensor: Tensor) -> None:
        """Count the storage of `tensor` from now on, if it is not counted yet."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = storage.nbytes()
        self.live += storage.nbytes()
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self.live -= self._sizes.pop(key)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        self.timeline.append(self.live)
        return result
