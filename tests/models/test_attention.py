"""The precision policy, and attention on old GPUs."""

import math
from types import SimpleNamespace

import pytest
import torch
from transformers import MistralConfig

from lorabook.errors import ModelError
from lorabook.models.attention import EXPANDED, attention_for, expanded_attention, refuse_padding
from lorabook.models.precision import precision_for
from tests.kit.families import AMPERE, CONFIGS, IDS, LLAMA_SIZES, T4, build


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS.keys())
def pair(request: pytest.FixtureRequest) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The same model twice: with transformers' sdpa, and with the attention for a T4."""
    return build(request.param, "sdpa"), build(request.param, attention_for("cuda", T4))


def ragged_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Ids of lengths 12, 7 and 1, padded on the right, and the mask of the real positions."""
    ids = torch.randint(1, 64, (3, 12), generator=torch.Generator().manual_seed(1))
    real = torch.arange(12) < torch.tensor([[12], [7], [1]])
    return ids.masked_fill(~real, 0), real


# Precision


@pytest.mark.parametrize(
    ("device", "capability", "weights", "autocast", "scaler"),
    [
        ("cuda", AMPERE, torch.bfloat16, torch.bfloat16, False),
        ("cuda", (9, 0), torch.bfloat16, torch.bfloat16, False),
        ("cuda:1", (12, 0), torch.bfloat16, torch.bfloat16, False),
        ("cuda", T4, torch.float16, torch.float16, True),
        ("cuda", (6, 0), torch.float16, torch.float16, True),
        ("cpu", None, torch.float32, None, False),
        ("mps", None, torch.float32, None, False),
    ],
)
def test_precision_follows_the_device(device, capability, weights, autocast, scaler):
    precision = precision_for(device, capability)
    assert (precision.weights, precision.autocast, precision.scaler) == (weights, autocast, scaler)
    assert precision.reason.endswith(".")


@pytest.mark.parametrize(("capability", "half"), [(T4, torch.float16), (AMPERE, torch.bfloat16)])
def test_precision_and_attention_ask_the_card_and_never_its_bf16_emulation(monkeypatch, capability, half):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *args, **kwargs: pytest.fail("emulation counts there"))
    assert precision_for("cuda").weights == half
    assert attention_for("cuda") == (EXPANDED if capability == T4 else "sdpa")


def test_attention_is_sdpa_everywhere_else():
    assert {attention_for("cpu"), attention_for("mps"), attention_for("cuda", AMPERE)} == {"sdpa"}


# Attention on old GPUs


def by_hand(query, key, value, scaling):
    """softmax(q k^T * scaling) v, one query position at a time over the keys it may see."""
    output = torch.empty_like(query)
    heads_per_key, past = query.shape[1] // key.shape[1], key.shape[2] - query.shape[2]
    for batch, head, place in torch.cartesian_prod(*(torch.arange(n) for n in query.shape[:3])).tolist():
        seen = past + place + 1
        scores = key[batch, head // heads_per_key, :seen] @ query[batch, head, place] * scaling
        odds = (scores - scores.max()).exp()
        output[batch, head, place] = (odds / odds.sum()) @ value[batch, head // heads_per_key, :seen]
    return output.transpose(1, 2)


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize(("queries", "keys"), [(5, 5), (1, 6), (3, 7)])
def test_attention_equals_attention_by_hand(key_heads, queries, keys):
    random = torch.Generator().manual_seed(0)
    query = torch.randn(2, 4, queries, 8, generator=random)
    key, value = (torch.randn(2, key_heads, keys, 8, generator=random) for _ in range(2))
    output, weights = expanded_attention(SimpleNamespace(is_causal=True), query, key, value, None, scaling=0.3)
    assert weights is None
    torch.testing.assert_close(output, by_hand(query, key, value, 0.3))


@pytest.fixture
def sdpa_calls(monkeypatch):
    """What reaches PyTorch's scaled_dot_product_attention: (query, key, value, keyword arguments) of every call."""
    calls = []
    sdpa = torch.nn.functional.scaled_dot_product_attention

    def spy(query, key, value, **options):
        calls.append((query, key, value, options))
        return sdpa(query, key, value, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", spy)
    return calls


def test_gpt_bigcode_scales_its_scores_by_one_over_the_root_of_the_head_size(sdpa_calls):
    model = build(CONFIGS["multi-query GPTBigCode"], attention_for("cuda", T4))
    contexts = []
    model.transformer.h[0].attn.c_proj.register_forward_pre_hook(lambda _, args: contexts.append(args[0]))
    with torch.no_grad():
        model(ragged_batch()[0])
    query, key, value, _ = sdpa_calls[0]
    torch.testing.assert_close(contexts[0], by_hand(query, key, value, 1 / math.sqrt(8)).flatten(2))


def test_logits_and_gradients_equal_sdpa_on_a_ragged_batch(pair):
    ids, real = ragged_batch()
    gradients = []
    for model in pair:
        logits = model(ids).logits[real]
        gradients.append(torch.autograd.grad(logits.square().mean(), list(model.parameters())))
        gradients[-1] = (logits.detach(), *gradients[-1])
    for ours, theirs in zip(*gradients):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    # padding on the right needs no mask: each row alone gives the same
    with torch.no_grad():
        alone = torch.cat([pair[1](row[keep][None]).logits[0] for row, keep in zip(ids, real)])
    torch.testing.assert_close(alone, gradients[1][0], rtol=1e-4, atol=1e-5)


def test_greedy_generation_with_a_cache_equals_sdpa(pair):
    ids = ragged_batch()[0][:1, :5]
    mask = torch.ones_like(ids)
    options = {"max_new_tokens": 12, "min_new_tokens": 12, "do_sample": False, "pad_token_id": 0}
    theirs, ours = (model.generate(ids, attention_mask=mask, **options) for model in pair)
    assert ours.tolist() == theirs.tolist()
    assert len(set(ours[0].tolist())) > 3  # a constant would hide a difference


def test_a_prompt_continued_in_pieces_equals_the_whole(pair):
    model, ids = pair[1], ragged_batch()[0][:1]
    with torch.no_grad():
        whole = model(ids, use_cache=False).logits
        first = model(ids[:, :7], use_cache=True)
        # the cache goes by two names across transformers versions: let the output say which
        name = "cache" if "cache" in first else "past_key_values"
        second = model(ids[:, 7:], use_cache=True, **{name: first[name]})
    torch.testing.assert_close(torch.cat([first.logits, second.logits], 1), whole, rtol=1e-4, atol=1e-5)


def test_what_reaches_sdpa_has_equal_heads_a_causal_flag_and_no_mask(pair, sdpa_calls):
    pair[1](ragged_batch()[0])
    assert len(sdpa_calls) == 2  # layers
    for query, key, value, options in sdpa_calls:
        assert query.shape == key.shape == value.shape == (3, 4, 12, 8)
        assert options["is_causal"] is True
        assert options["attn_mask"] is None
        assert "enable_gqa" not in options


def test_a_new_token_sees_the_whole_cache_without_a_mask(pair, sdpa_calls):
    ids = ragged_batch()[0][:1, :5]
    pair[1].generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=2, min_new_tokens=2, pad_token_id=0)
    query, key, _, options = sdpa_calls[-1]
    assert (query.shape[2], key.shape[2]) == (1, 6)
    assert (options["is_causal"], options["attn_mask"]) == (False, None)


def test_sdpa_itself_would_ask_for_shared_heads(sdpa_calls):
    """The trap this attention exists for; should it go away one day, so may `EXPANDED`."""
    build(CONFIGS["multi-query GPTBigCode"], "sdpa")(ragged_batch()[0])
    assert [options.get("enable_gqa") for *_, options in sdpa_calls] == [True, True]


def test_it_runs_on_the_meta_device(pair):
    model = pair[1].to("meta")
    logits = model(torch.zeros(2, 8, dtype=torch.long, device="meta"), use_cache=False).logits
    assert logits.shape == (2, 8, 64)
    logits.sum().backward()


def test_left_padding_is_refused_and_right_padding_passes():
    model = build(CONFIGS["grouped-query Llama"], attention_for("cuda", T4))
    refuse_padding(model)
    ids, real = ragged_batch()
    model(ids, attention_mask=real.long())
    with pytest.raises(ModelError, match="padded on the left"):
        model(ids.flip(1), attention_mask=real.flip(1).long())
    with pytest.raises(ModelError, match="padded on the left"):
        model.generate(ids.flip(1), attention_mask=real.flip(1).long(), max_new_tokens=2, pad_token_id=0)
    model.set_attn_implementation("sdpa")
    model(ids.flip(1), attention_mask=real.flip(1).long())


def test_a_cache_of_fixed_size_is_refused():
    model = build(CONFIGS["grouped-query Llama"], attention_for("cuda", T4))
    refuse_padding(model)
    ids = ragged_batch()[0][:1]
    with pytest.raises(ModelError, match="fixed size"):
        model.generate(ids, cache_implementation="static", max_new_tokens=2, pad_token_id=0)


def test_a_window_shorter_than_the_sequence_is_refused():
    config = MistralConfig(**IDS, **LLAMA_SIZES, sliding_window=8)
    model, ids = build(config, attention_for("cuda", T4)), ragged_batch()[0]
    torch.testing.assert_close(model(ids[:, :8]).logits, build(config, "sdpa")(ids[:, :8]).logits)
    with pytest.raises(ModelError, match="8 tokens at a time, but the sequence has 12"):
        model(ids)
