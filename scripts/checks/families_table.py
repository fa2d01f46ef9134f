"""What lorabook's adapters do to tiny random models of many architectures: docs/families.md.

    python -m scripts.checks.families_table               every family, into docs/families.md; half a minute
    python -m scripts.checks.families_table llama opt     these families, printed

Every cell is measured here, with PEFT and transformers as the judges: the largest difference between logits, or what
lorabook says where it refuses. Exits with 1 if a difference is larger than rounding, or if something else was raised.
"""

import contextlib
import io
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import torch.nn.functional as F
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.pytorch_utils import Conv1D
from transformers.utils import logging

from lorabook.errors import LorabookError
from lorabook.lora import LoRAConfig, adaptable, apply_lora, lora_layers
from lorabook.lora_config import ALL_LINEAR
from lorabook.merging import merge, remove
from lorabook.peft_format import adapter_file
from lorabook.step.loss import AnswerLoss
from scripts.checks.tiny_families import FAMILIES, VOCABULARY, build

TABLE = Path(__file__).resolve().parents[2] / "docs" / "families.md"
ROUNDING = 1e-4  # differences up to here are those of fp32 sums in another order
LARGE_LOGIT = 20.0


@dataclass(frozen=True)
class Line:
    """What was measured of one family: the largest differences, or why lorabook refuses."""

    family: str
    to_peft: str
    from_peft: str
    ends_to_peft: str
    ends_from_peft: str
    merged: str
    reloaded: str
    loss: str


def token_ids() -> Tensor:
    return torch.randint(VOCABULARY, (2, 9), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def logits(model: nn.Module) -> Tensor:
    return model(input_ids=token_ids(), use_cache=False).logits.float()


@torch.no_grad()
def fill(factors: list[Tensor]) -> None:
    """Random numbers for the factors of an adapter, so that it looks trained."""
    generator = torch.Generator().manual_seed(2)
    for factor in factors:
        factor.copy_(torch.randn(factor.shape, generator=generator) * 0.2)


def ends(model: Any) -> tuple[str, ...]:
    """The names of the embeddings and of the output head."""
    head = model.get_output_embeddings()
    return tuple(n for n, m in model.named_modules() if m is head or (isinstance(m, nn.Embedding) and adaptable(m)))


def ours(family: str, targets: tuple[str, ...]) -> PreTrainedModel:
    model = build(family)
    apply_lora(model, LoRAConfig(r=4, alpha=8, targets=targets))
    fill([factor for _, layer in lora_layers(model) for factor in (layer.A, layer.B)])
    if (logits(model) - logits(build(family))).abs().max() < 0.01:
        raise AssertionError("the adapter does nothing")
    return model


def theirs(family: str, targets: tuple[str, ...]) -> PeftModel:
    base = build(family)
    modules = ALL_LINEAR if targets == (ALL_LINEAR,) else list(targets)
    transposed = any(isinstance(module, Conv1D) for module in base.modules())
    try:
        model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=modules, fan_in_fan_out=transposed))
    except ValueError as error:
        raise PeftRefuses(str(error)) from error
    fill([p for name, p in model.named_parameters() if ".lora_" in name])
    return model.eval()


class PeftRefuses(Exception):
    """PEFT makes no such adapter, so there is none to read."""


def apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def to_peft(family: str, targets: tuple[str, ...], folder: Path) -> float:
    """Ours saved, and loaded by PEFT."""
    model = ours(family, targets)
    adapter_file.save(model, folder)
    return apart(logits(PeftModel.from_pretrained(build(family), folder)), logits(model))


def from_peft(family: str, targets: tuple[str, ...], folder: Path) -> float:
    """PEFT's saved, and loaded by us."""
    model = theirs(family, targets)
    model.save_pretrained(folder)
    loaded = build(family)
    adapter_file.load(loaded, folder)
    return apart(logits(loaded), logits(model))


def merged(family: str, folder: Path) -> float:
    """After `merge`, and before."""
    model = ours(family, (ALL_LINEAR,))
    unmerged = logits(model)
    merge(model)
    return apart(logits(model), unmerged)


def reloaded(family: str, folder: Path) -> float:
    """The merged model saved and read by transformers, and the model before `merge`."""
    model = ours(family, (ALL_LINEAR,))
    unmerged = logits(model)
    merge(model)
    remove(model)
    model.save_pretrained(folder)
    return apart(logits(AutoModelForCausalLM.from_pretrained(folder).eval()), unmerged)


def loss(family: str, folder: Path) -> float:
    """The mean loss over all positions: AnswerLoss, and cross-entropy of transformers' logits.

    The head is scaled first, so that the largest logit is as large as a trained model's: a cap on logits is felt.
    """
    model, ids = ours(family, (ALL_LINEAR,)), token_ids()
    with torch.no_grad():
        head: Any = model.get_output_embeddings()
        head.weight.mul_(LARGE_LOGIT / logits(model).abs().max())
    answer = AnswerLoss(model)
    answer.check()
    rows, length = ids.shape
    places = torch.tensor([row * length + i for row in range(rows) for i in range(length - 1)])
    labels = ids[:, 1:].flatten()
    with torch.no_grad():
        mine = answer(ids, places, labels) / len(labels)
    return abs(float(mine - F.cross_entropy(logits(model)[:, :-1].flatten(0, 1), labels)))


def cell(measure: Callable[..., float], *arguments: Any) -> str:
    """A difference with one digit, or what was said in place of one."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            difference = measure(*arguments, Path(folder))
            shown = f"{difference:.0e}" if difference else "0"
            return shown if difference <= ROUNDING else f"WRONG by {shown}"
        except LorabookError as error:
            return f"refused: {shortened(error.problem)}"
        except PeftRefuses as error:
            return f"PEFT refuses: {shortened(str(error))}"
        except Exception as error:
            return f"FAILS: {type(error).__name__}: {shortened(str(error))}"


def shortened(text: str) -> str:
    """The beginning of an error's first sentence, up to where it goes into details."""
    return re.split(r": | \(|=|\. |\n", text.removeprefix("[PEFT:PeftType.LORA] "))[0].removesuffix(".")


def line(family: str) -> Line:
    linear, embeddings = (ALL_LINEAR,), ends(build(family))
    return Line(
        family,
        cell(to_peft, family, linear),
        cell(from_peft, family, linear),
        cell(to_peft, family, embeddings),
        cell(from_peft, family, embeddings),
        cell(merged, family),
        cell(reloaded, family),
        cell(loss, family),
    )


def written(lines: list[Line]) -> str:
    """The page."""
    used = ", ".join(f"{name} {version(name)}" for name in ("lorabook", "transformers", "peft", "torch"))
    rows = [f"| {' | '.join(astuple(one))} |" for one in lines]
    return "\n".join([PAGE.format(count=len(lines), used=used), *rows, ""])


PAGE = """# Model families

`scripts/checks/families_table.py` made this table with {used}.
For each of {count} architectures it builds a tiny random model, gives every linear layer (or, in two columns, the
embeddings and the output head) a random adapter of rank 4, and prints the largest difference between the logits of two
ways that should agree, or what lorabook says where it refuses.

- **to PEFT**: an adapter of lorabook's, saved, then loaded by PEFT. **from PEFT**: the other way round.
- **merged**: after `merge`, and before. **reloaded**: the merged model, saved and read by transformers, and before.
- **loss**: `AnswerLoss` and the cross-entropy of transformers' logits, the mean over all positions.

A refusal concerns what its column does. Where "to PEFT" is refused, the error names the targets to leave out, and the
model can still be merged and saved whole.

| family | all linear: to PEFT | from PEFT | ends: to PEFT | from PEFT | merged | reloaded | loss |
|---|---|---|---|---|---|---|---|"""


def main(families: list[str]) -> int:
    logging.set_verbosity_error()
    lines = []
    for family in families or sorted(FAMILIES):
        lines.append(line(family))
        print(*astuple(lines[-1]), sep=" | ", flush=True)
    if not families:
        TABLE.write_text(written(lines), encoding="utf-8")
    return int(any(word in text for one in lines for text in astuple(one) for word in ("WRONG", "FAILS")))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
