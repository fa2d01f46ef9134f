"""Which of Accelerate's engines a run is refused under, by all that may ask for them."""

import accelerate
import pytest
import torch
from accelerate.utils import DistributedType

from lorabook.errors import SettingError
from lorabook.step import engines
from lorabook.step.engines import SWITCHES, TESTED, check_engine, refuse_engines
from lorabook.training.loop import finetune
from tests.kit.runs import HELD_OUT, TRAIN, config, lora_model, values


@pytest.mark.parametrize("kind", DistributedType)
def test_of_all_distributed_types_those_that_were_tested_pass(kind, monkeypatch):
    class Other(accelerate.Accelerator):
        distributed_type = kind  # pyright: ignore

    monkeypatch.setattr(accelerate, "Accelerator", Other)
    if kind in (DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU):
        check_engine(kind.value)
        return
    model = lora_model()
    with pytest.raises(SettingError, match=rf"the distributed type {kind.value}, under which"):
        finetune(model, TRAIN, HELD_OUT, config())


def test_the_tested_types_are_accelerates():
    assert set(TESTED) < {kind.value for kind in DistributedType}


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_run_is_refused_before_it_changes_or_writes_anything(switch, monkeypatch, tmp_path):
    """With no such package here: Accelerate would say that it is missing, or start what would go wrong."""
    monkeypatch.setenv(switch, "True")
    monkeypatch.setattr(accelerate, "Accelerator", lambda **_: pytest.fail("started"))
    model, output = lora_model(), tmp_path / "run"
    before = values(model)
    with pytest.raises(SettingError) as refused:
        finetune(model, TRAIN, HELD_OUT, config(), output=output)
    assert switch in str(refused.value) and str(refused.value).count(". ") == 1
    assert not output.exists() and all(torch.equal(before[n], t) for n, t in values(model).items())
    monkeypatch.setenv(switch, "false")
    refuse_engines()


def test_accelerates_own_plugins_set_the_switch(monkeypatch):
    """A program that gives its Accelerator a plugin need not have been launched with one."""
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    accelerate.Accelerator(cpu=True, fsdp_plugin=accelerate.FullyShardedDataParallelPlugin())
    with pytest.raises(SettingError, match="its FSDP plugin"):
        refuse_engines()


@pytest.mark.parametrize("device", [True, False])
def test_xla_is_refused_where_it_has_a_device(device, monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: name == "torch_xla" or None)
    monkeypatch.setattr("accelerate.utils.is_torch_xla_available", lambda: device)
    if not device:
        refuse_engines()
        return
    with pytest.raises(SettingError, match="TPUs"):
        refuse_engines()
