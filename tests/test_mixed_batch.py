"""Batches whose rows go through different adapters: as if each row were alone, as PEFT does it, one base product."""

import pytest
import torch

from lorabook.adapters import activate, active, add, mixed_batch
from lorabook.errors import SettingError
from lorabook.lora import LoRAConfig
from tests.kit.adapters import CONFIGS, SEEDS, alone, both, fill_adapter
from tests.kit.families import MODELS, gpt_bigcode, logits, token_ids
from tests.kit.oracles import copy_factors, peft_config, with_peft

each_family = pytest.mark.parametrize("kind", MODELS)
MIX = ["titles", None, "code", "titles", None]


@each_family
def test_each_row_is_as_if_alone(kind):
    model, ids = both(kind), token_ids(len(MIX))
    activate(model, "code")
    with mixed_batch(model, MIX):
        mixed = logits(model, ids)
    assert active(model) == "code" and torch.equal(logits(model), logits(alone(kind, "code")))
    base = logits(MODELS[kind](), ids)
    for row, name in enumerate(MIX):
        if name is None:
            assert torch.equal(mixed[row], base[row])
        else:
            expected = logits(alone(kind, name), ids[row : row + 1])[0]
            torch.testing.assert_close(mixed[row], expected, rtol=0, atol=1e-5)
            assert (mixed[row] - base[row]).abs().max() > 0.1, "the adapter does nothing"


@each_family
def test_logits_equal_those_of_peft(kind):
    """PEFT mixes by `adapter_names`. It cannot give positions an adapter that way, so wpe is left out."""
    model, ids = MODELS[kind](), token_ids(len(MIX))
    theirs = None
    for name, c in CONFIGS[kind].items():
        config = LoRAConfig(c.r, c.alpha, targets=tuple(t for t in c.targets if t != "wpe"), rslora=c.rslora)
        if theirs is None:
            theirs = with_peft(model, config)
        else:
            theirs.add_adapter(name, peft_config(MODELS[kind](), config))
        add(model, name, config)
        activate(model, name)
        fill_adapter(model, SEEDS[name])
        copy_factors(model, theirs, "default" if name == "titles" else name)
    called = {"titles": "default", "code": "code", None: "__base__"}
    with mixed_batch(model, MIX):
        expected = theirs.eval()(ids, adapter_names=[called[name] for name in MIX]).logits
        torch.testing.assert_close(logits(model, ids), expected, rtol=0, atol=1e-5)


def test_the_base_product_is_done_once_for_all_rows():
    model, seen = both(), []
    model.transformer.h[0].attn.c_attn.register_forward_hook(lambda m, x, h: seen.append(tuple(h.shape)))
    with mixed_batch(model, MIX):
        logits(model, token_ids(len(MIX), length=9))
    assert seen == [(len(MIX), 9, 48)]  # 32 queries and one head of 8 keys and 8 values


def test_generating_goes_through_each_row_s_adapter():
    model, ids = both(), token_ids(3)

    def answers(model, ids):
        return model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False, eos_token_id=None
        )

    with mixed_batch(model, ["code", "titles", None]):
        mixed = answers(model, ids)
    each = [alone("GPTBigCode", "code"), alone("GPTBigCode", "titles"), gpt_bigcode()]
    assert torch.equal(mixed, torch.cat([answers(lone, ids[i : i + 1]) for i, lone in enumerate(each)]))
    assert len({tuple(row) for row in mixed[:, 9:].tolist()}) == 3


def test_dropout_follows_the_model_s_mode_also_in_the_block():
    model, ids = both().train(), token_ids(2)
    with mixed_batch(model, ["titles", "titles"]):
        assert not torch.equal(logits(model, ids), logits(model, ids))
        model.eval()
        assert torch.equal(logits(model, ids), logits(model, ids))


def test_an_error_in_the_block_leaves_no_mix_behind():
    model = both()
    activate(model, "titles")
    with pytest.raises(ZeroDivisionError), mixed_batch(model, ["code"]):
        1 / 0  # noqa: B018
    assert active(model) == "titles" and torch.equal(logits(model), logits(alone("GPTBigCode", "titles")))


def test_a_batch_of_another_size_is_refused():
    model = both()
    with mixed_batch(model, MIX), pytest.raises(SettingError, match="2 rows, and 5"):
        logits(model, token_ids(2))
    with mixed_batch(model, MIX), pytest.raises(SettingError, match="1 rows, and 5"):
        model.transformer.h[0].attn.c_attn(torch.zeros(1, 3, 32))


def test_nothing_is_switched_within_the_block():
    model = both()
    with mixed_batch(model, ["code"]):
        for action in (lambda: activate(model, "titles"), lambda: mixed_batch(model, ["titles"]).__enter__()):
            with pytest.raises(SettingError, match="mixed batch is running"):
                action()
    assert torch.equal(logits(model), logits(gpt_bigcode()))
