"""Started by test_two_processes.py, once per process: trains the toy and writes what came of it.

python two_processes.py BATCH_TOKENS OUTPUT
"""

import sys
from pathlib import Path

from safetensors.torch import save_file
from tiny_runs import HELD_OUT, TRAIN, config, gradients_of, lora_model, values

from lorabook.train import finetune


def main(batch_tokens: str, output: str) -> None:
    import torch.distributed as dist

    model, folder = lora_model(), Path(output)
    settings = config(batch_tokens=int(batch_tokens), lr=1e-3, steps=5, checkpoint_every=2, minutes=30.0)
    histories = []

    def run() -> None:
        histories.append(finetune(model, TRAIN, HELD_OUT, settings, output=folder))

    seen = gradients_of(model, run)
    rank = dist.get_rank() if dist.is_initialized() else 0
    flat = {f"{i}.{name}": g for i, step in enumerate(seen) for name, g in step.items()}
    save_file(flat, folder / f"gradients-{rank}.safetensors")
    save_file({k: v for k, v in values(model).items() if k.endswith((".A", ".B"))}, folder / f"end-{rank}.safetensors")
    histories[0].save(folder / f"history-{rank}.json")
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
