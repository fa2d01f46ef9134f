"""Getting models and data from a hub: what is said when something is missing, and that a cut-off is survived.

The hub is `LoopbackHub`; the clients are processes of their own, since HF_ENDPOINT and HF_HOME are read at import.
"""

import json
import subprocess
from http.client import HTTPConnection, HTTPMessage
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lorabook.data.sources import without_token
from lorabook.models.hub import is_whole
from lorabook.models.load import KNOWN
from tests.kit import processes
from tests.kit.families import save_model
from tests.kit.hub_stub import LoopbackHub

pytestmark = pytest.mark.hub

TOKEN, STRANGER = "hf_planted_accepted", "hf_planted_stranger"
SMOLLM2 = KNOWN["smollm2"]
ONE_BILLION, TINY = "bigcode/starcoderbase-1b", "bigcode/tiny_starcoder_py"

LOAD_EACH = """
import json
import sys
import time
from lorabook.models import hub
from lorabook.errors import LorabookError
from lorabook.models import load_model

hub.WAITS_S = (0.01, 0.02)
for case in json.loads(sys.argv[1]):
    started = time.monotonic()
    try:
        loaded = load_model(case["name"], device="cpu", token=case.get("token"))
        first = next(loaded.model.parameters()).double().sum().item()
        said = {"revision": loaded.revision, "licence": loaded.licence, "first": first,
                "path": loaded.model.config._name_or_path}
    except LorabookError as error:
        said = {"error": type(error).__name__, "text": str(error)}
    print(json.dumps({**said, "seconds": time.monotonic() - started}))
"""

READ_DATA = """
import json
import sys
from datasets import load_dataset

from lorabook.data import stackoverflow

rows = load_dataset("owner/rows", split="train", streaming=True)
print(json.dumps(list(rows.take(3))))
loaded = stackoverflow.load("koutch/stackoverflow_python", rows=20)
print(json.dumps({"read": loaded.report.read, "ids": sorted(pair.question_id for pair in loaded.pairs)}))
"""


def run(hub: LoopbackHub, home: Path, program: str, *arguments: str, **variables: str) -> list[dict]:
    """The JSON lines `program` prints in a process that uses `hub`; no planted token may be among what it says."""
    done = processes.run("-c", program, *arguments, env=hub.environment(home) | variables, timeout=120)
    assert "hf_planted" not in done.stdout + done.stderr
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def load_each(hub: LoopbackHub, home: Path, cases: list[dict], **variables: str) -> dict[str, dict]:
    names = [f"{case['name']}{' as ' + case['as'] if 'as' in case else ''}" for case in cases]
    return dict(zip(names, run(hub, home, LOAD_EACH, json.dumps(cases), **variables)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, with files of kinds that are not to be fetched."""
    folder = tmp_path_factory.mktemp("model")
    save_model(folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    (folder / "modeling.py").write_text("raise SystemExit('ran')")
    (folder / "onnx").mkdir()
    (folder / "onnx" / "config.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def pickled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pickled")
    (folder / "config.json").write_text('{"model_type": "gpt2"}')
    (folder / "pytorch_model.bin").write_bytes(b"pickle")
    return folder


@pytest.fixture
def hub():
    with LoopbackHub() as hub:
        hub.know(STRANGER)
        yield hub


@pytest.mark.slow
def test_models_from_the_hub(hub, folder, pickled, tmp_path):
    hub.add(ONE_BILLION, folder, gated=True, commit=KNOWN[ONE_BILLION].revision)
    hub.accept(TOKEN, ONE_BILLION)
    hub.add(TINY, folder, commit=KNOWN[TINY].revision)
    hub.add(SMOLLM2.hub_id, folder, commit=SMOLLM2.revision)
    hub.add("owner/free", folder, licence="mit")
    hub.add("owner/busy", folder, fail_times=2, retry_after="0")
    hub.add("owner/overrun", folder, fail_times=99, fail_status=503)
    hub.add("owner/cut", folder, cut_times=2)
    hub.add("owner/half", folder, half_times=2)
    hub.add("owner/pickled", pickled)
    hub.add("owner/garbled", folder, wrong_bytes=True)
    hub.add("owner/garbled-once", folder, wrong_times=1)
    hub.add("owner/short-once", folder, short_times=1)
    hub.add("owner/nonsense", folder, nonsense=True)
    said = load_each(
        hub,
        tmp_path,
        [
            {"name": ONE_BILLION, "as": "nobody"},
            {"name": ONE_BILLION, "as": "a stranger", "token": STRANGER},
            {"name": ONE_BILLION, "as": "nobody known", "token": "hf_planted_expired"},
            {"name": ONE_BILLION, "as": "a member", "token": f"{TOKEN}\n"},
            {"name": TINY},
            {"name": TINY, "as": "a second time"},
            {"name": "smollm2"},
            {"name": "owner/free"},
            {"name": "owner/busy"},
            {"name": "owner/overrun"},
            {"name": "owner/cut"},
            {"name": "owner/half"},
            {"name": "owner/pickled"},
            {"name": "owner/garbled"},
            {"name": "owner/garbled-once"},
            {"name": "owner/short-once"},
            {"name": "owner/nonsense"},
            {"name": "bigcode/starcoderbase-1B"},
            {"name": "owner/unheard-of"},
            {"name": "not an id"},
        ],
    )

    nobody = said[f"{ONE_BILLION} as nobody"]
    assert nobody["error"] == "NoTokenError"
    assert "no access token" in nobody["text"]
    stranger = said[f"{ONE_BILLION} as a stranger"]
    assert stranger["error"] == "LicenceError"
    assert "has not accepted its licence" in stranger["text"]
    for refusal in (nobody, stranger):
        assert f"https://huggingface.co/{ONE_BILLION}" in refusal["text"]
        assert f"or use {TINY}" in refusal["text"]
    expired = said[f"{ONE_BILLION} as nobody known"]
    assert expired["error"] == "NoTokenError"
    assert "mistyped, expired" in expired["text"]

    member = said[f"{ONE_BILLION} as a member"]
    assert member == {
        "revision": KNOWN[ONE_BILLION].revision,
        "licence": "bigcode-openrail-m",
        "path": ONE_BILLION,
        "first": member["first"],
        "seconds": member["seconds"],
    }
    assert said[TINY]["revision"] == KNOWN[TINY].revision
    assert (said["smollm2"]["revision"], said["smollm2"]["path"]) == (SMOLLM2.revision, SMOLLM2.hub_id)
    assert said["smollm2"]["licence"] == "Apache-2.0"
    free = hub.repositories["models", "owner/free"]
    assert (said["owner/free"]["revision"], said["owner/free"]["licence"]) == (free.commit, "mit")
    for name in ("owner/free", "owner/busy", "owner/cut", "owner/half", "owner/garbled-once", "owner/short-once"):
        assert said[name]["first"] == member["first"]
    assert hub.repositories["models", "owner/half"].half_times == 0

    assert said["owner/overrun"]["error"] == "NetworkError"
    assert "keeps answering 503" in said["owner/overrun"]["text"]
    assert 99 - hub.repositories["models", "owner/overrun"].fail_times == 3  # tries
    assert said["owner/nonsense"]["error"] == "NetworkError"
    assert "What the hub answered about owner/nonsense cannot be read" in said["owner/nonsense"]["text"]
    assert "only as pickled .bin files" in said["owner/pickled"]["text"]
    assert "model.safetensors of owner/garbled arrived damaged, twice" in said["owner/garbled"]["text"]
    assert not list((tmp_path / "hub").glob("models--owner--garbled/*/*/*.safetensors"))
    assert f"Did you mean {ONE_BILLION}" in said["bigcode/starcoderbase-1B"]["text"]
    assert said["owner/unheard-of"]["error"] == said["not an id"]["error"] == "ModelError"

    fetched = {request.path.rsplit("/", 1)[-1] for request in hub.requests if request.method == "GET"}
    assert "model.safetensors" in fetched
    assert not fetched & {"pytorch_model.bin", "modeling.py"}
    assert not any("onnx" in request.path for request in hub.requests)
    assert not any(request.authorized for request in hub.requests if "bigcode/starcoderbase-1b" not in request.path)

    # a pinned commit in the cache is not asked for again
    assert said[f"{TINY} as a second time"]["revision"] == said[TINY]["revision"]
    assert [request.path for request in hub.requests].count(f"/api/models/{TINY}/revision/{KNOWN[TINY].revision}") == 1

    # with the hub gone, a branch in the cache is used too
    hub.close()
    asked = len(hub.requests)
    cases = [{"name": n} for n in (ONE_BILLION, TINY, "smollm2", SMOLLM2.hub_id, "owner/free", "owner/unheard-of")]
    again = load_each(hub, tmp_path, cases)
    assert again["smollm2"]["path"] == again[SMOLLM2.hub_id]["path"] == SMOLLM2.hub_id  # the cache, not the package
    for name in (ONE_BILLION, TINY, "owner/free"):
        assert again[name]["revision"] == said.get(name, member)["revision"]
        assert again[name]["first"] == member["first"]
    assert again["owner/unheard-of"]["error"] == "NetworkError"
    assert "use pocket" in again["owner/unheard-of"]["text"]
    assert len(hub.requests) == asked
    offline = load_each(hub, tmp_path, cases[:1] + cases[3:], HF_HUB_OFFLINE="1")
    assert offline[ONE_BILLION]["first"] == member["first"]
    assert "HF_HUB_OFFLINE is set" in offline["owner/unheard-of"]["text"]


def test_a_checksum_is_git_s_or_sha256(folder):
    path = folder / "config.json"
    git = subprocess.run(["git", "hash-object", path], capture_output=True, text=True, check=True).stdout.strip()
    sha = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    assert is_whole(path, git) and is_whole(path, sha)
    assert not is_whole(path, git[::-1]) and not is_whole(path, sha[::-1])


def test_a_clients_message_is_told_without_the_token(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert without_token(f"403 for Bearer {TOKEN}, {TOKEN}") == "403 for Bearer (token), (token)"


@pytest.mark.slow
def test_a_hub_that_hangs_is_given_up_on(hub, folder, tmp_path):
    hub.add("owner/slow", folder, hang_s=60)
    said = load_each(hub, tmp_path, [{"name": "owner/slow"}], HF_HUB_ETAG_TIMEOUT="1")["owner/slow"]
    assert said["error"] == "NetworkError"
    assert said["seconds"] < 20


@pytest.mark.slow
def test_a_data_set_streams_from_the_hub(hub, tmp_path):
    plain = {"n": list(range(100)), "text": [f"row {n}" for n in range(100)]}
    posts = {
        "title": [f"Title {n}" for n in range(50)],
        "question_id": list(range(1, 51)),
        "question_body": [f"<p>Question {n}</p>" for n in range(50)],
        "answer_id": list(range(101, 151)),
        "answer_body": [f"<p>Answer {n}</p><pre><code>print({n})</code></pre>" for n in range(50)],
    }
    for name, columns in (("owner/rows", plain), ("koutch/stackoverflow_python", posts)):
        data = tmp_path / name / "data"
        data.mkdir(parents=True)
        pq.write_table(pa.table(columns), data / "train-0.parquet")
        hub.add(name, data.parent, kind="datasets")
    rows, loaded = run(hub, tmp_path / "home", READ_DATA)
    assert rows == [{"n": n, "text": f"row {n}"} for n in range(3)]
    assert loaded == {"read": 20, "ids": list(range(1, 21))}
    assert not any(request.authorized for request in hub.requests)


def ask(method: str, url: str, token: str | None = None, **headers: str) -> tuple[int, HTTPMessage, bytes]:
    """Status, headers and body of one request, with no client of the hub's in between."""
    address = urlsplit(url)
    connection = HTTPConnection(address.netloc, timeout=10)
    secret = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, url.removeprefix(f"http://{address.netloc}"), headers=secret | headers)
    answer = connection.getresponse()
    return answer.status, answer.msg, answer.read()


def test_the_stub_answers_in_ranges_trees_and_codes_as_the_real_hub_does(hub, folder):
    repository = hub.add("owner/model", folder, gated=True)
    hub.accept(TOKEN, "owner/model")
    config = f"{hub.url}/owner/model/resolve/main/config.json"
    body = (folder / "config.json").read_bytes()
    assert ask("GET", config, TOKEN)[2] == body
    status, headers, part = ask("GET", config, TOKEN, Range="bytes=2-5")
    assert (status, part, headers["Content-Range"]) == (206, body[2:6], f"bytes 2-5/{len(body)}")
    _, headers, nothing = ask("HEAD", config, TOKEN)
    assert (nothing, headers["X-Linked-Size"], headers["X-Repo-Commit"]) == (b"", str(len(body)), repository.commit)
    refusals = [ask("HEAD", config), ask("HEAD", config, STRANGER)]
    assert [(status, headers["X-Error-Code"]) for status, headers, _ in refusals] == [
        (401, "GatedRepo"),
        (403, "GatedRepo"),
    ]
    status, headers, _ = ask("HEAD", config.replace("config.json", "none.json"), TOKEN)
    assert (status, headers["X-Error-Code"]) == (404, "EntryNotFound")
    top, deep = (
        {entry["path"]: entry["type"] for entry in json.loads(ask("GET", f"{hub.url}{path}")[2])}
        for path in ("/api/models/owner/model/tree/main", "/api/models/owner/model/tree/main?recursive=true")
    )
    assert (top["onnx"], deep["onnx/config.json"]) == ("directory", "file")
    assert "onnx/config.json" not in top
    assert [request.authorized for request in hub.requests[:5]] == [True, True, True, False, True]
    assert TOKEN not in repr(hub.requests)
