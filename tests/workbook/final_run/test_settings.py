"""The final run's choices: which model a machine gets, and what its step will take."""

import re

import pytest
import torch

from lorabook.errors import LicenceError, NetworkError, NoTokenError
from lorabook.lora import LoRAConfig
from lorabook.memory.dry_run import dry_run
from lorabook.memory.estimate import estimate
from lorabook.models.hub import UNGATED
from lorabook.workbook.final_run import settings


class TestChoice:
    @pytest.fixture(autouse=True)
    def _machine(self, monkeypatch):
        monkeypatch.delenv("LORABOOK_MODEL", raising=False)

    def gpu(self, monkeypatch, gib: float, error: Exception | None = None):
        class Card:
            total_memory = int(gib * 2**30)

        def preflight(name):
            if error and name == settings.STARCODER:
                raise error

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: Card)
        monkeypatch.setattr(settings, "preflight", preflight)

    def test_no_gpu_takes_pocket_with_a_banner(self):
        run = settings.choose()
        assert run.model == "pocket" and run.data == "sample"
        assert "no GPU needed" in settings.describe(run)

    def test_the_environment_decides_where_it_is_set(self, monkeypatch):
        self.gpu(monkeypatch, 15)
        monkeypatch.setenv("LORABOOK_MODEL", "pocket")
        assert settings.choose().model == "pocket"

    def test_a_gpu_with_access_takes_starcoder(self, monkeypatch):
        self.gpu(monkeypatch, 14.75)
        run = settings.choose()
        assert run.model == settings.STARCODER and run.training.minutes
        assert (run.training.epochs, run.training.batch_tokens, run.training.minutes) == (1, 8192, 30)
        assert "bigcode-openrail-m" in settings.describe(run)

    @pytest.mark.parametrize("error", [NoTokenError("No token.", "Set HF_TOKEN."), LicenceError("No licence.", "Do.")])
    def test_no_access_takes_the_ungated_model_and_says_why(self, monkeypatch, error):
        self.gpu(monkeypatch, 14.75, error)
        run = settings.choose()
        assert run.model == UNGATED and str(error) in settings.describe(run)

    def test_a_small_card_takes_the_small_model(self, monkeypatch):
        self.gpu(monkeypatch, 6)
        run = settings.choose()
        assert run.model == UNGATED and "less than" in settings.describe(run)

    def test_no_network_takes_pocket_and_says_why(self, monkeypatch):
        self.gpu(monkeypatch, 14.75, NetworkError("No hub.", "Go online."))
        run = settings.choose()
        assert run.model == "pocket" and "No hub." in settings.describe(run)


@pytest.mark.seconds
def test_the_memory_forecast_is_the_estimate_s_and_the_dry_run_s():
    run, lora = settings.settings_for("pocket"), LoRAConfig(r=16, alpha=32)
    plan = settings.memory_plan(run, lora)
    assert (plan.batch, plan.sequence, plan.checkpointing) == (4, 512, torch.cuda.is_available())
    said = settings.memory_forecast(run, lora)
    peaks = estimate("pocket", plan).predicted_peak, dry_run("pocket", plan).peak
    assert re.findall(r"peak: (\d+\.\d\d) GiB", said) == [f"{peak / 2**30:.2f}" for peak in peaks]
    other = settings.settings_for("someone/else")
    assert "The sizes of 'someone/else' are not known." in settings.memory_forecast(other, lora)
