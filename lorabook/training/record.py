"""What went into a run, written beside its checkpoints before the first step: `run.json`.

A History tells how a run went, not why. Here is what else `lorabook doctor --run` needs: the settings, the labels as
the loss receives them, the scaling as the layers apply it, and the base weights. Labels and scaling are measured, not
read off the settings that should have brought them about.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.func import functional_call

from lorabook.atomic import replace_text
from lorabook.data.batches import Batch
from lorabook.data.examples import Example
from lorabook.lora import LoRAEmbedding, LoRALayer, adapters_of, in_4_bits, lora_layers
from lorabook.peft_format.fingerprint import Fingerprint
from lorabook.step.config import TrainConfig
from lorabook.training.evaluate import evaluating

FILE = "run.json"
STEPS_LOOKED_AT = 8
DISTANCES = (1, 0, 2)  # from a position to the token that is its label: right, not shifted, shifted twice
FIRST = 8


@dataclass(frozen=True)
class Labels:
    """The labels of a run's first steps.

    `rows` and `labels` count. Of the rows, `whole_rows` end in the model's end token, which is a label `end_labels`
    times; both are None for a model that names none. `distance` is the k for which every label of a position t is the
    token at t + k (1 is right), None where no k fits all. `first` pairs the first row's tokens, from the first with a
    label on, with their labels.
    """

    rows: int
    whole_rows: int | None
    labels: int
    end_labels: int | None
    distance: int | None
    first: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, examples: Sequence[Example], batches: Sequence[Batch], ends: set[int]) -> "Labels":
        """Of `batches`, into which `examples` were collated."""
        labels = [label for batch in batches for label in batch.labels.tolist()]
        tokens = [t for batch in batches for t in batch.input_ids.flatten()[batch.label_positions].tolist()]
        fits = [k for k in DISTANCES if labels and all(_stands_at(batch, k) for batch in batches)]
        return cls(
            rows=len(examples),
            whole_rows=sum(e.input_ids[-1] in ends for e in examples) if ends else None,
            labels=len(labels),
            end_labels=sum(label in ends for label in labels) if ends else None,
            distance=fits[0] if fits else None,
            first=tuple(zip(tokens[:FIRST], labels)),
        )


def _stands_at(batch: Batch, distance: int) -> bool:
    places = batch.label_positions + distance
    flat = batch.input_ids.flatten()
    return bool((places < len(flat)).all()) and torch.equal(flat[places], batch.labels)


@dataclass(frozen=True)
class RunRecord:
    """What went into a run.

    `training` and `lora` are the settings (`lora` None without LoRA layers), `epoch` the steps of one pass over the
    rows; `scalings` the scaling of every linear LoRA layer; `tied` the adapted layers whose weight the other end of the
    model shares; `base` the frozen weights the run was on, `trained_on` those that a loaded adapter came from (None:
    not loaded, or its file does not say).
    """

    training: dict[str, Any]
    lora: dict[str, Any] | None
    epoch: int
    labels: Labels
    scalings: dict[str, float]
    tied: tuple[str, ...]
    base: Fingerprint
    trained_on: Fingerprint | None

    @classmethod
    def of(
        cls,
        model: nn.Module,
        config: TrainConfig,
        train: Sequence[Example],
        plan: Sequence[Sequence[list[int]]],
        collate: Callable[[Sequence[Example]], Batch],
    ) -> "RunRecord":
        """Of a run that is to train `model` on `train` by the steps of `plan`, its batches made by `collate`."""
        micro = [[train[i] for i in rows] for step in plan[:STEPS_LOOKED_AT] for rows in step]
        examples = [e for rows in micro for e in rows]
        adapter = adapters_of(model).active
        linear = [(n, layer) for n, layer in lora_layers(model) if not isinstance(layer, LoRAEmbedding)]
        with evaluating(model):
            scalings = {name: applied_scaling(layer) for name, layer in linear}
        return cls(
            training=asdict(config),
            lora=asdict(adapter.config) if adapter else None,
            epoch=len(plan),
            labels=Labels.of(examples, [collate(rows) for rows in micro], _end_tokens(model)),
            scalings=scalings,
            tied=tied_layers(model),
            base=Fingerprint.of(model),
            trained_on=adapter and adapter.trained_on,
        )

    def save(self, folder: str | Path) -> None:
        """Write `run.json`, replaced whole or not at all."""
        replace_text(Path(folder) / FILE, json.dumps(asdict(self)))

    @classmethod
    def from_json(cls, stored: dict) -> "RunRecord":
        labels = stored["labels"] | {"first": tuple(map(tuple, stored["labels"]["first"]))}
        known = stored["trained_on"] and Fingerprint.from_json(stored["trained_on"])
        return cls(
            stored["training"],
            stored["lora"],
            stored["epoch"],
            Labels(**labels),
            stored["scalings"],
            tuple(stored["tied"]),
            Fingerprint.from_json(stored["base"]),
            known,
        )


def applied_scaling(layer: LoRALayer) -> float:
    """The s of h = base(x) + s B A x, measured: the layer is run with ones for A, B and the first input."""
    d, k = layer.shape
    device = layer.A.device
    x = torch.zeros(1, k, device=device)
    x[0, 0] = 1
    weight = layer.base_layer.weight
    x = x.to(weight.quant_state.dtype if in_4_bits(layer.base_layer) else weight.dtype)
    ones = {"A": torch.ones(layer.r, k, device=device), "B": torch.ones(d, layer.r, device=device)}
    added = functional_call(layer, ones, x).float() - layer.base_layer(x).float()  # s r everywhere
    return float(added.mean()) / layer.r


def tied_layers(model: nn.Module) -> tuple[str, ...]:
    """The adapted layers whose base weight is both the model's input embedding and its output head."""
    host: Any = model
    ends = [getattr(m, "base_layer", m) for m in (host.get_input_embeddings(), host.get_output_embeddings())]
    shared = ends[0].weight if ends[0].weight is ends[1].weight else None
    return tuple(name for name, layer in lora_layers(model) if layer.base_layer.weight is shared)


def _end_tokens(model: nn.Module) -> set[int]:
    # an instruct model may name what ends a turn in its generation settings alone
    settings: Any = getattr(model, "config", None), getattr(model, "generation_config", None)
    named = [getattr(each, "eos_token_id", None) for each in settings]
    return {t for ids in named if ids is not None for t in ([ids] if isinstance(ids, int) else ids)}
