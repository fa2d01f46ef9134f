"""A hub that refuses, breaks off, lies, hangs or is not there: success after a retry or one message, and a clean cache.

Every case is met twice by processes with one cache: while the hub misbehaves, and after it has come to its senses.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults import ROOT, network_token
from tests.faults.rows import Row
from tests.kit import processes
from tests.kit.families import save_model
from tests.kit.hub_stub import LoopbackHub

TOKEN, STRANGER = "hf_planted_accepted", "hf_planted_stranger"


@dataclass(frozen=True)
class Case:
    """A model behind `faults` (fields of `hub.Repository`): it loads, or is refused in `words`."""

    kind: str
    name: str
    faults: dict[str, Any] = field(default_factory=dict)
    words: str | None = None
    token: str | None = None


CASES = (
    Case("401 and 403", "o/nobody", {"gated": True}, "is gated, and no access token"),
    Case("401 and 403", "o/stranger", {"gated": True}, "has not accepted its licence", STRANGER),
    Case("401 and 403", "o/expired", {"gated": True}, "mistyped, expired", "hf_planted_expired"),
    Case("401 and 403", "o/refused", {"fail_times": 99, "fail_status": 403, "echo": True}, "does not accept", TOKEN),
    Case("404", "o/unheard-of", {"absent": True}, "has no model"),
    Case("404", "o/empty", {"folder": "empty"}, "holds no model.safetensors"),
    Case("429 with Retry-After", "o/busy", {"fail_times": 2, "retry_after": "0"}),
    Case("429 with Retry-After", "o/busier", {"fail_times": 1, "retry_after": "1"}),
    Case(
        "429 with Retry-After",
        "o/overrun",
        {"fail_times": 99, "retry_after": "0", "echo": True},
        "answering 429",
        TOKEN,
    ),
    *(Case("500 and the like", f"o/{s}", {"fail_times": 2, "fail_status": s}) for s in (500, 502, 503, 504)),
    Case("500 and the like", "o/down", {"fail_times": 99, "fail_status": 500}, "keeps answering 500"),
    Case("connection cut", "o/cut", {"cut_times": 2}),
    Case("connection cut", "o/half", {"half_times": 2}),
    Case("connection cut", "o/always", {"half_times": 999}, "cannot be reached"),
    Case("wrong bytes, wrong size", "o/garbled", {"wrong_bytes": True}, "model.safetensors.*arrived damaged, twice"),
    Case("wrong bytes, wrong size", "o/once", {"wrong_times": 1}),
    Case("wrong bytes, wrong size", "o/short", {"short_times": 1}),
    Case("hang", "o/stalls", {"stall_times": 1}),
    Case("hang", "o/hangs", {"hang_s": 20}, "cannot be reached"),
)


def run(sample: int | None, seed: int, folder: Path) -> list[Row]:
    """`sample` bounds the cases of each kind, from the first on; nothing here is drawn."""
    save_model(folder / "model")
    (folder / "empty").mkdir()
    (folder / "empty" / "config.json").write_text("{}")
    kinds: dict[str, list[Case]] = {}
    for case in CASES:
        kinds.setdefault(case.kind, []).append(case)
    chosen = {kind: found[:sample] for kind, found in kinds.items()}
    cases = [case for found in chosen.values() for case in found]
    with LoopbackHub() as hub:
        for token in (TOKEN, STRANGER):
            hub.know(token)
        for case in cases:
            if not case.faults.get("absent"):
                hub.add(case.name, **({"folder": folder / "model"} | case.faults | _folder(case, folder)))
        first = client(hub, folder / "home", cases)
        left = partial_files(folder / "home", folder / "model")
        for case in cases:
            hub.add(case.name, folder / "model")
        second = client(hub, folder / "home", cases, token=False)
    rows = []
    for kind, found in chosen.items():
        wrong = [w for case in found for w in _wrong(case, first, second, left)]
        refused = sum(case.words is not None for case in found)
        outcome = f"{len(found) - refused} loaded after a retry, {refused} told in one message, then all loaded"
        rows.append(Row(kind, len(found), "; ".join(wrong) or outcome, not wrong))
    return [*rows, _offline(folder, sample), *network_token.run(folder / "token", folder / "model")]


def _folder(case: Case, folder: Path) -> dict[str, Path]:
    return {"folder": folder / case.faults["folder"]} if "folder" in case.faults else {}


def client(hub: LoopbackHub, home: Path, cases: list[Case], token: bool = True, **more: Any) -> dict[str, dict]:
    """What a process that loads `cases` says of each, by name; "said" holds all that it wrote."""
    asked = [{"name": case.name, "token": case.token if token else None} for case in cases]
    order = json.dumps({"cases": asked + more.pop("also", []), **more})
    environment = hub.environment(home) | {"HF_HUB_ETAG_TIMEOUT": "2", "HF_HUB_DOWNLOAD_TIMEOUT": "2"}
    done = processes.run("-m", "tests.faults.network_client", order, cwd=ROOT, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    found = {line["name"]: line for line in map(json.loads, done.stdout.splitlines())}
    return found | {"said": {"text": done.stderr + json.dumps([f | {"token": None} for f in found.values()])}}


def partial_files(home: Path, model: Path) -> set[str]:
    """The repositories with a file in their snapshots that is not, byte for byte, the one that the hub has."""
    bad = set()
    for path in (home / "hub").glob("models--*/snapshots/*/*"):
        if (model / path.name).exists() and path.read_bytes() != (model / path.name).read_bytes():
            bad.add(path.parts[-4].removeprefix("models--").replace("--", "/"))
    return bad


def _wrong(case: Case, first: dict, second: dict, left: set[str]) -> list[str]:
    said, then = first[case.name], second[case.name]
    wrong = []
    if case.words is None and "first" not in said:
        wrong.append(f"{case.name}: {said['error']}: {said['text'][:200]}")
    if case.words is not None and not re.search(case.words, said.get("text", "it was loaded")):
        wrong.append(f"{case.name}: said {said.get('text', 'it was loaded')[:200]!r}")
    if "not ours" in said.get("error", ""):
        wrong.append(f"{case.name}: {said['error']}")
    if case.name in left:
        wrong.append(f"{case.name}: a file that is not whole stayed in the cache")
    loaded = [second[name]["first"] for name in second if "first" in second[name]]
    if "first" not in then or then["first"] != loaded[0]:
        wrong.append(f"{case.name}: afterwards {then.get('text', 'other weights')[:200]}")
    if "hf_planted" in first["said"]["text"]:
        wrong.append("the token was written down")
    return wrong


def _offline(folder: Path, sample: int | None) -> Row:
    """With every socket refused from the start: what ships loads, what does not is one message."""
    with LoopbackHub() as hub:
        also = [{"name": "pocket"}, {"name": "o/none"}]
        if sample is None:
            also += [{"name": "sample", "data": True}, {"name": "o/rows", "data": True}]
        said = client(hub, folder / "offline", [], also=also, blocked=True)
    wrong = []
    for name in said.keys() - {"said"}:
        expected = "first" if name == "pocket" else "read" if name == "sample" else "error"
        if expected not in said[name] or said[name].get("error", "NetworkError") != "NetworkError":
            wrong.append(f"{name}: {said[name]}")
    outcome = "; ".join(wrong) or "what ships loads, the rest is told in one message"
    return Row("offline from the start", len(said) - 1, outcome, not wrong)
