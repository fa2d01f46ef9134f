"""Attention on GPUs older than Ampere, where PyTorch's memory-saving kernel wants as many key heads as query heads.

A causal model called without a mask asks `scaled_dot_product_attention` for `enable_gqa=True` when heads share keys
and values. On a T4 only the MATH backend takes that, and it stores every S x S score. Expanding the keys and values
first keeps the efficient backend, whose memory grows with S instead of S^2.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lorabook.errors import ModelError
from lorabook.models.precision import BFLOAT16_CAPABILITY, cuda_capability

EXPANDED = "lorabook_expanded"


def attention_for(device: str | torch.device, capability: tuple[int, int] | None = None) -> str:
    """The value for transformers' `attn_implementation`: "sdpa", or `EXPANDED` on CUDA below capability (8, 0).

    Registers `expanded_attention` under that name, without a mask function: masks made by transformers do not reach
    it, which is right for right-padded batches only. `refuse_padding` guards a model against the others.
    """
    capability = cuda_capability(torch.device(device), capability)
    if capability is None or capability >= BFLOAT16_CAPABILITY:
        return "sdpa"
    from transformers import AttentionInterface

    AttentionInterface.register(EXPANDED, expanded_attention)
    return EXPANDED


def expanded_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **features: Any,
) -> tuple[Tensor, None]:
    """softmax(Q K^T * scaling) V with K and V repeated for every query head.

    `query` is (B, H, S, D), `key` and `value` are (B, H_kv, T, D) with H a multiple of H_kv; returns (B, S, H, D) and
    None for the weights. With a cache T > S, and the queries are the last S positions. Raises ModelError for what it
    does not compute: a window shorter than T, capped scores, a position bias, attention sinks.
    """
    _refuse_features(features, key.shape[2])
    groups = query.shape[1] // key.shape[1]
    # (B, H_kv, T, D) -> (B, H, T, D); multi-query (H_kv = 1) stays a view, so nothing is copied
    key = key.unsqueeze(2).expand(-1, -1, groups, -1, -1).flatten(1, 2)
    value = value.unsqueeze(2).expand(-1, -1, groups, -1, -1).flatten(1, 2)
    queries, keys = query.shape[2], key.shape[2]
    if is_causal is None:
        is_causal = getattr(module, "is_causal", True)
    # one new token may see the whole cache
    causal = bool(is_causal) and attention_mask is None and queries > 1
    if causal and keys > queries:
        # `is_causal` counts from the first key, but these queries are the last positions
        attention_mask = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries)
        causal = False
    output = F.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, dropout_p=dropout, scale=scaling, is_causal=causal
    )
    return output.transpose(1, 2).contiguous(), None


def _refuse_features(features: dict[str, Any], keys: int) -> None:
    advice = 'Call model.set_attn_implementation("sdpa") before using this model.'
    for name in ("softcap", "position_bias", "s_aux"):
        if features.get(name) is not None:
            raise ModelError(f"This model's attention uses {name}, which the attention for older GPUs lacks.", advice)
    window = features.get("sliding_window")
    if window is not None and keys > window:
        raise ModelError(f"This model attends to {window} tokens at a time, but the sequence has {keys}.", advice)


def refuse_padding(model: nn.Module) -> None:
    """Make `model`, while it uses `EXPANDED`, raise ModelError where a mask would be needed.

    That is a 2D `attention_mask` with a 0 before a 1 (left padding: the padding would be attended to), or a cache of
    fixed size (its empty places would be). Right padding passes: no real position looks at what follows it.
    """
    model.register_forward_pre_hook(_check_padding, with_kwargs=True)


@contextlib.contextmanager
def masked_attention(model: nn.Module) -> Iterator[None]:
    """Within the block a model that uses `EXPANDED` uses "sdpa", which masks reach: for batches padded on the left."""
    host: Any = model
    if host.config._attn_implementation != EXPANDED:
        yield
        return
    host.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        host.set_attn_implementation(EXPANDED)


def _check_padding(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if module.config._attn_implementation != EXPANDED:
        return
    advice = 'Generate for one prompt at a time with the default cache, or call model.set_attn_implementation("sdpa").'
    mask = kwargs.get("attention_mask")
    if mask is not None and mask.ndim == 2 and (mask[:, :-1] < mask[:, 1:]).any():
        raise ModelError("This batch is padded on the left, and the attention for older GPUs sees no mask.", advice)
    if any(getattr(value, "is_compileable", False) for value in kwargs.values()):
        raise ModelError("A cache of fixed size needs a mask, and the attention for older GPUs sees none.", advice)
