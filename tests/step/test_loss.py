"""The chunked loss, held against F.cross_entropy on full logits and against transformers' own `labels=` loss."""

from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lorabook.data.batches import collate
from lorabook.data.examples import Example
from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig, apply_lora
from lorabook.memory.counter import StorageCounter
from lorabook.step import chunk as chunk_module
from lorabook.step.chunk import chunk_rows
from lorabook.step.loss import AnswerLoss, summed_cross_entropy
from tests.kit.adapters import fill_adapter
from tests.kit.families import MODELS, gpt_bigcode, llama, token_ids

WIDTH, OUT, LABELS = 16, 40, 23
# Ragged: (length, answer start). One row is all answer but its first token, one has a single label.
ROWS = [(9, 4), (5, 1), (12, 11), (3, 2)]


class Largest(TorchDispatchMode):
    """Records the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.elements = max(self.elements, leaf.numel())
        return result


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def linear(bias: bool) -> nn.Linear:
    head = nn.Linear(WIDTH, OUT, bias=bias)
    with torch.no_grad():
        for p in head.parameters():
            p.copy_(random(*p.shape, seed=p.dim()))
    return head


def lora_head() -> nn.Module:
    host = nn.ModuleDict({"head": linear(bias=True)})
    apply_lora(host, LoRAConfig(r=3, alpha=6, targets=("head",)))
    fill_adapter(host)
    return host["head"]


HEADS = {
    "frozen": lambda: linear(False).requires_grad_(False),
    "frozen with bias": lambda: linear(True).requires_grad_(False),
    "trained": lambda: linear(False),
    "trained with bias": lambda: linear(True),
    "LoRA": lora_head,
}


def value_and_gradients(loss: Tensor, hidden: Tensor, head: nn.Module) -> list[Tensor]:
    inputs = [hidden, *(p for p in head.parameters() if p.requires_grad)]
    return [loss.detach(), *torch.autograd.grad(loss, inputs)]


@pytest.mark.parametrize("chunk", [1, 7, LABELS - 1, LABELS, 1000])
@pytest.mark.parametrize("kind", HEADS)
def test_equals_the_loss_of_full_logits(kind, chunk, monkeypatch):
    monkeypatch.setattr(chunk_module, "CHUNK_LOGITS", chunk * OUT)
    head, hidden = HEADS[kind](), random(LABELS, WIDTH).requires_grad_()
    labels = token_ids(1, LABELS, below=OUT)[0]
    full = F.cross_entropy(head(hidden), labels, reduction="sum") / LABELS
    ours = summed_cross_entropy(hidden, head, labels) / LABELS
    for mine, other in zip(value_and_gradients(ours, hidden, head), value_and_gradients(full, hidden, head)):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", HEADS)
def test_without_labels_the_loss_and_every_gradient_are_zero(kind):
    head, hidden = HEADS[kind](), random(4, WIDTH).requires_grad_()
    loss = summed_cross_entropy(hidden[:0], head, torch.empty(0, dtype=torch.long))
    assert [t.abs().sum().item() for t in value_and_gradients(loss, hidden, head)] == [0.0] * (
        2 + sum(p.requires_grad for p in head.parameters())
    )


@pytest.mark.parametrize("kind", HEADS)
def test_no_gradient_is_formed_where_none_is_wanted(kind):
    head, hidden = HEADS[kind](), random(LABELS, WIDTH)
    labels = token_ids(1, LABELS, below=OUT)[0]
    with torch.no_grad():
        loss = summed_cross_entropy(hidden, head, labels)
        full = F.cross_entropy(head(hidden), labels, reduction="sum")
    assert not loss.requires_grad
    torch.testing.assert_close(loss, full)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_small_16_bit_gradients_survive_the_division_by_many_labels(dtype):
    """Right labels of a sure model leave gradients near 1e-4; divided by 50,000 labels they are zero in fp16."""
    head = linear(bias=False).to(dtype).requires_grad_(False)
    labels = token_ids(1, 256, below=OUT)[0]
    hidden = (head.weight[labels].float() * 1.2 + 0.1 * random(256, WIDTH)).to(dtype).requires_grad_()
    scale = 2.0**16 / 50_000
    (ours,) = torch.autograd.grad(summed_cross_entropy(hidden, head, labels) * scale, hidden)

    exact = hidden.detach().double().requires_grad_()
    oracle = F.cross_entropy(exact @ head.weight.double().T, labels, reduction="sum") * scale
    (expected,) = torch.autograd.grad(oracle, exact)
    small = (expected.abs() > 1e-5) & (expected.abs() < 1e-3)  # all far above fp16's smallest number, 6e-8
    assert small.sum() > 100
    assert (ours[small] == 0).float().mean() < 0.01
    error = (ours.double() - expected).norm() / expected.norm()
    assert error < 4 * torch.finfo(dtype).eps
    relative = ((ours.double() - expected).abs() / expected.abs())[small]
    assert relative.median() < 8 * torch.finfo(dtype).eps


def test_a_loss_scale_above_the_largest_fp16_number_is_no_overflow():
    head = linear(bias=False).half().requires_grad_(False)
    labels = token_ids(1, 4, below=OUT)[0]
    hidden = (head.weight[labels].float() * 1.2).half().requires_grad_()
    loss = summed_cross_entropy(hidden, head, labels)
    (once,) = torch.autograd.grad(loss, hidden, retain_graph=True)
    (scaled,) = torch.autograd.grad(loss * 2.0**17, hidden)
    fits = once.float().abs() * 2.0**17 < 60_000
    assert fits.any()
    torch.testing.assert_close(scaled.float()[fits], once.float()[fits] * 2.0**17)


@pytest.mark.parametrize("trained", [False, True])
def test_full_logits_never_exist(trained, monkeypatch):
    rows, length, vocabulary, chunk = 4, 24, 512, 8
    model = gpt_bigcode(vocab_size=vocabulary)
    model.requires_grad_(trained)
    if not trained:
        apply_lora(model, LoRAConfig(targets=("c_attn",)))
    ids = token_ids(rows, length)
    every = torch.arange(rows * length).view(rows, length)[:, :-1].flatten()
    monkeypatch.setattr(chunk_module, "CHUNK_LOGITS", chunk * vocabulary)
    with Largest() as ours:
        AnswerLoss(model)(ids, every, ids[:, 1:].flatten()).backward()
    with Largest() as theirs:
        model(ids, labels=ids).loss.backward()
    assert theirs.elements >= rows * length * vocabulary  # the recorder sees them where they exist
    # The largest left is the gradient of the head, or a layer's activations: 4 * width per token.
    assert ours.elements <= max(chunk * vocabulary, vocabulary * 32, rows * length * 4 * 32)


@pytest.mark.parametrize("trained", [False, True])
def test_a_chunk_takes_at_most_32_mib_of_logits_and_no_less_than_half(trained):
    """Of StarCoder's 49,152 tokens; smaller chunks would leave the head's matrix product waiting for memory."""
    head = nn.Linear(WIDTH, 49_152, bias=False, device="meta").requires_grad_(trained)
    hidden, labels = torch.empty(2048, WIDTH, device="meta"), torch.empty(2048, dtype=torch.long, device="meta")
    with Largest() as recorder:
        loss = summed_cross_entropy(hidden, head, labels)
    assert 2**24 < 4 * recorder.elements <= 2**25
    assert loss.device.type == "meta", "the sum is not on the hidden states' device"


@pytest.mark.parametrize(
    ("vocabulary", "rows"),
    [(2**23, 1), (2**24, 1), (2**18, 32), (2**16 + 1, 127), (2**16, 128), (49_152, 128), (2**15, 256), (32_000, 256)],
)
def test_a_chunk_is_whole_tiles_or_less_than_one(vocabulary, rows):
    assert chunk_rows(vocabulary) == rows


def test_one_chunk_of_logits_is_alive_at_a_time(monkeypatch):
    rows, vocabulary, chunk = 64, 4096, 16
    monkeypatch.setattr(chunk_module, "CHUNK_LOGITS", chunk * vocabulary)
    head = nn.Linear(WIDTH, vocabulary, bias=False).requires_grad_(False)
    hidden, labels = random(rows, WIDTH).requires_grad_(), token_ids(1, rows)[0]
    with StorageCounter([head.weight, hidden, labels]) as counter:
        before = counter.live
        summed_cross_entropy(hidden, head, labels).backward()
    assert counter.peak - before < 1.5 * 4 * chunk * vocabulary


def test_a_vocabulary_larger_than_a_chunk_passes_token_by_token(monkeypatch):
    monkeypatch.setattr(chunk_module, "CHUNK_LOGITS", OUT - 1)
    head, chunks = linear(bias=False), []
    head.register_forward_pre_hook(lambda _, inputs: chunks.append(len(inputs[0])))
    summed_cross_entropy(random(3, WIDTH), head, token_ids(1, 3, below=OUT)[0])
    assert chunks == [1, 1, 1]


def test_a_second_derivative_is_refused_where_it_would_be_wrong():
    """The kept gradient is a number to autograd: differentiated again it would count as constant."""
    head, hidden = HEADS["frozen"](), random(LABELS, WIDTH).requires_grad_()
    loss = summed_cross_entropy(hidden, head, token_ids(1, LABELS, below=OUT)[0])
    (once,) = torch.autograd.grad(loss.square(), hidden, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        once.sum().backward()


def examples() -> list[Example]:
    ids = token_ids(len(ROWS), 12, seed=5).tolist()
    return [Example(tuple(row[:length]), start, i) for i, (row, (length, start)) in enumerate(zip(ids, ROWS))]


def their_loss(model: nn.Module, rows: list[Example], padded: bool = True) -> Tensor:
    """Transformers' mean loss times its number of labels; it shifts the labels itself."""
    length = max(len(e.input_ids) for e in rows) if padded else len(rows[0].input_ids)
    ids = torch.tensor([list(e.input_ids) + [0] * (length - len(e.input_ids)) for e in rows])
    labels = torch.tensor(
        [
            [-100] * e.answer_start + list(e.input_ids[e.answer_start :]) + [-100] * (length - len(e.input_ids))
            for e in rows
        ]
    )
    mask = torch.tensor([[1] * len(e.input_ids) + [0] * (length - len(e.input_ids)) for e in rows])
    return model(ids, attention_mask=mask, labels=labels).loss * (labels != -100).sum()


@pytest.mark.parametrize("name", MODELS)
def test_equals_transformers_loss_on_a_ragged_batch(name):
    model, rows = MODELS[name](), examples()
    batch = collate(rows)
    ours = AnswerLoss(model)(batch.input_ids, batch.label_positions, batch.labels)
    theirs = their_loss(model, rows)
    alone = sum(their_loss(model, [e], padded=False) for e in rows)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("off", [-1, 1])
def test_a_label_shift_of_none_or_two_is_told_apart(off):
    """The comparison above can fail: labels taken at the position itself, or two further on, give another loss."""
    model, rows = gpt_bigcode(), [e for e in examples() if 3 <= e.answer_start < len(e.input_ids) - 2]
    batch = collate(rows)
    shifted = AnswerLoss(model)(batch.input_ids, batch.label_positions - off, batch.labels)
    assert abs(shifted - their_loss(model, rows)) > 0.1


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("checkpointed", [False, True])
def test_gradients_equal_transformers(name, checkpointed):
    """Everything trained, so the tied head's gradient is the sum of both its uses."""
    model, other, rows = MODELS[name](), MODELS[name](), examples()
    batch = collate(rows)
    if checkpointed:
        name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
        getattr(model, f"{name}_checkpointing_enable")({"use_reentrant": False})
    AnswerLoss(model.train())(batch.input_ids, batch.label_positions, batch.labels).backward()
    their_loss(other.train(), rows).backward()
    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("targets", [("c_attn", "wte"), ("q_proj", "lm_head")])
def test_lora_gradients_equal_transformers(targets):
    build = gpt_bigcode if "wte" in targets else llama
    model, rows = build(), examples()
    apply_lora(model, LoRAConfig(r=2, targets=targets))
    fill_adapter(model)
    other, batch = deepcopy(model), collate(rows)
    AnswerLoss(model)(batch.input_ids, batch.label_positions, batch.labels).backward()
    their_loss(other, rows).backward()
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-5)


def test_a_model_without_a_head_is_refused():
    with pytest.raises(SettingError, match="GPTBigCodeModel has no output head"):
        AnswerLoss(gpt_bigcode().base_model)
    with pytest.raises(SettingError, match="Linear has no output head"):
        AnswerLoss(nn.Linear(2, 2))
