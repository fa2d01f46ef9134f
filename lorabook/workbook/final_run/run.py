"""The run of notebook 09 on questions from Stack Overflow: made ready, saved, and shown in ten answers."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from lorabook import data
from lorabook.data.examples import Example, Pair, encode_all
from lorabook.lora import LoRAConfig, apply_lora
from lorabook.models.load import LoadedModel, load_model
from lorabook.peft_format import adapter_file
from lorabook.training.answers import answers
from lorabook.workbook.final_run.on_log import LossPlot
from lorabook.workbook.final_run.settings import FinalRun, describe, output_folder
from lorabook.workbook.kit.side_by_side import side_by_side
from lorabook.workbook.kit.stored import stored


@dataclass(frozen=True)
class ReadyRun:
    """What `finetune` takes: a model with LoRA, encoded examples, settings, a folder for the results and a plot."""

    settings: FinalRun
    loaded: LoadedModel
    training: list[Example]
    held_out: list[Example]
    held_out_pairs: list[Pair]
    output: Path
    plot: LossPlot

    @property
    def model(self) -> nn.Module:
        return self.loaded.model

    def save(self) -> Path:
        """Write A and B in PEFT's format; returns their folder."""
        return adapter_file.save(self.model, self.output, self.loaded.name, self.loaded.revision)


def prepare(settings: FinalRun, lora: LoRAConfig) -> ReadyRun:
    """Load the model and the data, hold out a fifth of it, add LoRA, and show an empty plot; says which model it is."""
    print(describe(settings))
    loaded = load_model(settings.model)
    train, held = data.split(data.load(settings.data, settings.rows).pairs, held_out=0.2)
    training, held_out = (encode_all(pairs, loaded.tokenizer, settings.max_length) for pairs in (train, held))
    apply_lora(loaded.model, lora)
    plot = LossPlot(settings.training.steps).show()
    return ReadyRun(settings, loaded, training, held_out, held, output_folder(), plot)


def ten_answers(run: ReadyRun, max_new_tokens: int = 200) -> None:
    """Show the answers to ten held-out questions, of the base and of the trained model, behind a click."""
    pairs = run.held_out_pairs[:10]
    before = answers(load_model(run.settings.model).model, run.loaded.tokenizer, pairs, max_new_tokens)
    after = answers(run.model, run.loaded.tokenizer, pairs, max_new_tokens)
    texts = [(pair.title, old.text, new.text) for pair, old, new in zip(pairs, before, after)]
    side_by_side(("before", "after"), texts, folded="Ten answers, before and after training")


def smollm2_answers() -> None:
    """Show SmolLM2's stored answers to the first ten of its test questions (after training: seed 0), behind a click."""
    ten = stored("final_run", "smollm2_run")["answers"][:10]
    texts = [(answer["title"], answer["base"]["text"], answer["tuned"][0]["text"]) for answer in ten]
    side_by_side(("before", "after"), texts, folded="Ten answers of SmolLM2, before and after training")
