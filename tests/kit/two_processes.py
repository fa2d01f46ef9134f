"""One process of tests/training/test_two_processes.py: it trains the toy, then writes what came of it.

python -m tests.kit.two_processes BATCH_TOKENS OUTPUT
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.modules.module import register_module_forward_pre_hook

from lorabook.step.loss import AnswerLoss
from lorabook.training.accelerator import accelerator_for
from lorabook.training.evaluate import answer_loss
from lorabook.training.loop import finetune
from tests.kit.runs import HELD_OUT, TRAIN, config, gradients_of, lora_model, stop_at, values

STEPS, PAUSE = 5, 3
SETTINGS = {"lr": 1e-3, "steps": STEPS, "checkpoint_every": 2, "log_every": 1, "minutes": 30.0}


def random_states(model) -> list[torch.Tensor]:
    """Fills up with what dropout would draw from as each forward pass of training begins."""
    states = []

    def keep(module, _) -> None:
        if module.training:
            states.append(torch.get_rng_state())

    model.base_model.register_forward_pre_hook(keep)
    return states


def measured(model, accelerator) -> list[dict]:
    """The held-out loss, also of a single row; of each the answer tokens that passed the model in this process."""
    found, labels = [], []

    def count(module, arguments) -> None:
        if isinstance(module, AnswerLoss):
            labels.append(len(arguments[2]))

    handle = register_module_forward_pre_hook(count)
    for rows in (HELD_OUT, HELD_OUT[:1]):
        labels.clear()
        found.append(asdict(answer_loss(model, rows, 40, accelerator)) | {"passed": sum(labels)})
    handle.remove()
    return found


def main(batch_tokens: str, output: str) -> None:
    import torch.distributed as dist

    model, again, histories = lora_model(), lora_model(), []
    states = {"whole": random_states(model), "resumed": random_states(again)}
    folder, settings = Path(output), config(batch_tokens=int(batch_tokens), **SETTINGS)
    accelerator = accelerator_for(next(model.parameters()).device)  # starts the process group, as the first run would
    rank = dist.get_rank() if dist.is_initialized() else 0

    def whole() -> None:  # a folder for each process, of which only the main one's is to be made
        histories.append(finetune(model, TRAIN, HELD_OUT, settings, output=folder / f"run-{rank}"))

    seen = gradients_of(model, whole)
    stop = stop_at(PAUSE)  # the button is pressed in the main process alone: no other one logs
    finetune(lora_model(), TRAIN, HELD_OUT, settings, output=folder / "parts", on_log=stop)
    if dist.is_initialized():
        dist.barrier()  # until the main process has written the checkpoint
    histories.append(finetune(again, TRAIN, HELD_OUT, settings, output=folder / "parts", resume=True))

    (folder / f"measured-{rank}.json").write_text(json.dumps(measured(model, accelerator)))
    flat = {f"{i}.{name}": g for i, step in enumerate(seen) for name, g in step.items()}
    save_file(flat, folder / f"gradients-{rank}.safetensors")
    for name, trained in (("whole", model), ("resumed", again)):
        factors = {k: v for k, v in values(trained).items() if k.endswith((".A", ".B"))}
        save_file(factors, folder / f"{name}-{rank}.safetensors")
        save_file({"first": states[name][0]}, folder / f"random-{name}-{rank}.safetensors")
    for name, history in zip(("whole", "resumed"), histories):
        history.save(folder / f"{name}-{rank}.json")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
