"""Cross-entropy at the label positions only, in chunks, so that the logits of a whole batch never exist.

A batch of B rows and S positions over a vocabulary of V would hold B * S * V logits, in 16 bits and again in fp32:
384 MiB in fp32 for 2,048 tokens of StarCoder's 49,152. Here the hidden states at the label positions, (N, h), pass
the output head a chunk at a time, and what is kept of each chunk is its gradient, as large as the hidden states.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lorabook.errors import SettingError
from lorabook.lora import is_sharded
from lorabook.step.chunk import chunk_rows


class _FrozenHeadLoss(torch.autograd.Function):
    """Sum of cross-entropies over the labels, and its gradient with respect to the hidden states, formed at once.

    With logits z = W h and labels y the gradient is (softmax(z) - onehot(y)) W. It is kept undivided: the division by
    the number of labels and the loss scale arrive through `grad_output`, after it was formed in the head's precision
    (divided early, small fp16 gradients would be lost).
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, chunk: int) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        grad = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        for start in range(0, len(hidden), chunk):
            rows = slice(start, start + chunk)
            logits = F.linear(hidden[rows].to(weight.dtype), weight, bias).float()  # (c, h) -> (c, V)
            log_z = torch.logsumexp(logits, -1, keepdim=True)
            total += (log_z - logits.gather(-1, labels[rows, None])).sum()
            if grad is not None:
                softmax = logits.sub_(log_z).exp_()
                softmax.scatter_add_(-1, labels[rows, None], torch.full_like(log_z, -1.0))
                grad[rows] = softmax.to(weight.dtype) @ weight
                del softmax
            del logits  # before the next chunk's logits are made
        ctx.save_for_backward(grad)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output: Tensor):
        (grad,) = ctx.saved_tensors
        # In fp32: loss scale / labels can pass fp16's largest number while the product does not.
        return (grad_output * grad.float()).to(grad.dtype), None, None, None, None


def summed_cross_entropy(hidden: Tensor, head: nn.Module, labels: Tensor) -> Tensor:
    """Sum over the labels of -log softmax(head(hidden))[label], in fp32.

    A frozen `nn.Linear` head takes the path above, and so does every plain one where no gradient is wanted. Any other
    head (trained, or with LoRA on it) is called a chunk at a time and called again in the backward pass.

    Shapes: hidden (N, h), labels (N,) integers in [0, V). Returns a scalar, in nats.
    """
    base: Any = getattr(head, "base_layer", head)
    chunk = chunk_rows(base.weight.shape[0])
    trained = torch.is_grad_enabled() and any(p.requires_grad for p in head.parameters())
    if type(head) is nn.Linear and not trained:
        return _FrozenHeadLoss.apply(hidden, head.weight, head.bias, labels, chunk)

    def part(h: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(head(h).float(), y, reduction="sum")

    total = torch.zeros((), dtype=torch.float32, device=hidden.device)
    for start in range(0, max(1, len(hidden)), chunk):  # once even without labels: the head needs its zero gradient
        rows = slice(start, start + chunk)
        total = total + checkpoint(part, hidden[rows], labels[rows], use_reentrant=False)
    return total


class AnswerLoss(nn.Module):
    """A causal LM and its loss in one module, which is what gets wrapped for autocast and several processes.

    `forward(input_ids, label_positions, labels)` returns the *sum* of the cross-entropies over the labels, in nats.
    No attention mask is passed: batches are right-padded, so a real position never looks at padding.

    Shapes: input_ids (B, S); label_positions (N,), places in the flattened (B * S) batch whose next token is the
    label; labels (N,).

    Raises:
        SettingError: the model has no output head of its own, or is in shards already.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        if is_sharded(model):
            raise SettingError(
                "The weights of this model are in shards, which only the run that made them puts together.",
                "Save the adapter, and load it on a base of its own.",
            )
        if getattr(model, "get_output_embeddings", lambda: None)() is None:
            raise SettingError(f"{type(model).__name__} has no output head.", "Load a causal language model.")
        self.model: Any = model  # a transformers model: its head and its base are found by transformers' names

    def forward(self, input_ids: Tensor, label_positions: Tensor, labels: Tensor) -> Tensor:
        hidden = self.model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
        chosen = hidden.flatten(0, 1).index_select(0, label_positions)  # (B, S, h) -> (N, h)
        return summed_cross_entropy(chosen, self.model.get_output_embeddings(), labels)

    @torch.no_grad()
    def check(self) -> None:
        """Compare head(hidden) with the model's own logits on eight tokens, and the first seven with another eighth.

        Raises:
            SettingError: the first differ, as in models that scale or cap their logits after the head; or the second,
                as in models that look ahead, which would find every answer in its own text.
        """
        was_training = self.model.training
        self.model.eval()
        head: Any = self.model.get_output_embeddings()
        vocabulary = getattr(head, "base_layer", head).weight.shape[0]
        # from the middle of the vocabulary: at its start are tokens that some models take for padding
        ids = torch.arange(8, device=next(self.model.parameters()).device).add(vocabulary // 2).remainder(vocabulary)
        ids = ids.repeat(2, 1)
        ids[1, -1] = ids[0, 0]
        own = self.model(input_ids=ids, use_cache=False).logits.float()
        hidden = getattr(self.model.base_model(input_ids=ids, use_cache=False), "last_hidden_state", None)
        if hidden is None:
            raise SettingError(
                f"The base of {type(self.model).__name__} gives no hidden states.",
                "lorabook's loss needs them before the output head: choose another model.",
            )
        ours = head(hidden).float()
        self.model.train(was_training)
        near = {"rtol": 1e-2, "atol": 1e-3 * float(own.nan_to_num().abs().max()), "equal_nan": True}
        if not torch.allclose(own, ours, **near):
            raise SettingError(
                f"{type(self.model).__name__} changes its logits after the output head.",
                "lorabook's chunked loss would be wrong for it: choose another model.",
            )
        if not torch.allclose(own[0, :-1], own[1, :-1], **near):
            raise SettingError(
                f"{type(self.model).__name__} looks ahead: its prediction of a token depends on tokens that follow.",
                "Choose a causal language model, one whose attention sees only what came before.",
            )
