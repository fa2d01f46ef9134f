"""One thread or all: what a small model's training and answers take, alone and beside a busy process.

    python -m benchmarks.threads [--rounds 5]

The pocket model takes four training steps, and writes 40 tokens, with 1 thread, with all, and with those that
`fastest_threads` chooses at that moment (its trial included). Interleaved, medians, once on a quiet machine and once
beside a process that multiplies matrices with all threads. Prints the times over those of all threads, and writes
benchmarks/results/threads.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from lorabook import LoRAConfig, apply_lora, data
from lorabook.data.batches import collate
from lorabook.data.examples import encode_all
from lorabook.models.load import load_model
from lorabook.threads import fastest_threads

RESULT = Path(__file__).parent / "results" / "threads.json"
BUSY = "import torch\nx = torch.randn(1500, 1500)\nwhile True: x @ x"


@contextmanager
def busy_process():
    process = subprocess.Popen([sys.executable, "-c", BUSY])
    time.sleep(3)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def jobs():
    loaded = load_model("pocket", device="cpu")
    model = loaded.model
    apply_lora(model, LoRAConfig(r=8, alpha=16))
    rows = encode_all(data.load("sample").pairs[:8], loaded.tokenizer, 256)
    batch = collate(rows)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    prompt = torch.tensor([rows[0].input_ids[:40]])

    def train() -> None:
        for _ in range(4):
            model(input_ids=batch.input_ids, labels=batch.input_ids).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    def write() -> None:
        mask = torch.ones_like(prompt)
        model.generate(prompt, attention_mask=mask, max_new_tokens=40, min_new_tokens=40, do_sample=False)

    return model, {"training": (train, batch.input_ids.numel()), "answering": (write, 1)}


def seconds(run) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    every = torch.get_num_threads()
    model, found = jobs()
    result: dict = {"threads": every, "rounds": rounds}
    for beside in ("alone", "beside a busy process"):
        with busy_process() if beside != "alone" else nullcontext():
            for name, (run, rows) in found.items():

                def chosen(run=run, rows=rows) -> None:
                    with fastest_threads(model, rows):
                        run()

                times: dict[str, list[float]] = {"all": [], "one": [], "chosen": []}
                for turn in range(rounds + 1):
                    for way, job, threads in (("all", run, every), ("one", run, 1), ("chosen", chosen, every)):
                        torch.set_num_threads(threads)
                        taken = seconds(job)
                        if turn:
                            times[way].append(taken)
                middle = {way: statistics.median(each) for way, each in times.items()}
                ratios = {way: round(middle[way] / middle["all"], 3) for way in ("one", "chosen")}
                result.setdefault(beside, {})[name] = {"all_seconds": round(middle["all"], 3)} | ratios
                said = ", ".join(f"{way} {ratio:.2f}" for way, ratio in ratios.items())
                print(f"{beside:22} {name:10} all {middle['all']:.2f} s, {said}")
    RESULT.write_text(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
