"""A Hugging Face Hub on this machine's loopback interface: enough of its HTTP to test downloads, refusals and faults.

    with LoopbackHub() as hub:
        hub.add("owner/model", folder, gated=True)
        hub.accept("hf_secret", "owner/model")
        subprocess.run(command, env=hub.environment(tmp_path))

It answers like the real one: 401 with `X-Error-Code: GatedRepo` to a file of a gated repository without a token, 403
to a token whose account has not accepted the licence, `RepoNotFound` for an unknown one, and so on.
"""

import contextlib
import hashlib
import json
import os
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

ROUTE = re.compile(
    r"/(?P<api>api/)?(?:(?P<kind>models|datasets)/)?(?P<id>[^/]+(?:/[^/]+)?)"
    r"(?:/(?P<action>revision|tree|paths-info|resolve)/(?P<revision>[^/]+)(?:/(?P<path>.*))?)?"
)


@dataclass
class Repository:
    """A folder served as a repository, and what is to go wrong with it; the fields may be changed between requests."""

    id: str
    folder: Path
    kind: str = "models"
    commit: str = ""
    gated: bool = False
    licence: str | None = None
    accepted: set[str] = field(default_factory=set)  # tokens of the accounts that accepted its licence
    fail_times: int = 0  # this many requests are answered with `fail_status`
    fail_status: int = 429
    retry_after: str | None = None
    cut_times: int = 0  # this many requests are cut off before the answer
    half_times: int = 0  # this many downloads are cut off halfway through the file
    hang_s: float = 0.0  # every request waits so long, or until the hub closes
    stall_times: int = 0  # this many downloads stop halfway and never go on, until the hub closes
    wrong_bytes: bool = False  # safetensors files arrive with their bytes inverted
    wrong_times: int = 0  # so many times only
    short_times: int = 0  # this many downloads of safetensors end early and say so: another size than the hub lists
    nonsense: bool = False  # what it tells of its files has text where a table belongs
    echo: bool = False  # refusals quote the request's authorization, as a proxy that logs too much would

    def __post_init__(self) -> None:
        self.commit = self.commit or hashlib.sha1(self.id.encode()).hexdigest()

    def files(self) -> dict[str, Path]:
        return {p.relative_to(self.folder).as_posix(): p for p in sorted(self.folder.rglob("*")) if p.is_file()}


@dataclass(frozen=True)
class Request:
    """A request as it arrived. `authorized`: whether it carried a token; the token itself is not kept."""

    method: str
    path: str
    authorized: bool


class LoopbackHub:
    """The server; a context manager. `requests` lists what was asked of it, in order."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.tokens: set[str] = set()
        self.requests: list[Request] = []
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads, self.server.block_on_close = True, False
        self.server.hub = self  # type: ignore[attr-defined]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def add(self, id: str, folder: str | Path, kind: str = "models", **settings: Any) -> Repository:
        """Serve `folder` as repository `id`; `kind` is "models" or "datasets", `settings` are Repository's fields."""
        repository = Repository(id, Path(folder), kind, **settings)
        self.repositories[kind, id] = repository
        return repository

    def know(self, token: str) -> None:
        """From now on `token` belongs to an account. Requests with a token that does not are refused."""
        self.tokens.add(token)

    def accept(self, token: str, id: str) -> None:
        """The account of `token` accepts the licence of model `id`."""
        self.know(token)
        self.repositories["models", id].accepted.add(token)

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """The environment of a process that is to use this hub, with `home` as its cache and login folder."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        secret = {"HF_TOKEN": token} if token else {}
        return {
            **kept,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_ETAG_TIMEOUT": "5",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
            **secret,
        }

    def close(self) -> None:
        """Stop answering; a second call does nothing."""
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def __enter__(self) -> "LoopbackHub":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Handler(BaseHTTPRequestHandler):
    """One connection, one request: HTTP/1.0, so that nothing outlives `close`."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: tests read stderr."""

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    @property
    def hub(self) -> LoopbackHub:
        return self.server.hub  # type: ignore[attr-defined]

    def answer(self) -> None:
        form = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        bearer = self.headers.get("Authorization")
        address = urlsplit(self.path)
        with self.hub.lock:
            self.hub.requests.append(Request(self.command, address.path, bearer is not None))
        route = ROUTE.fullmatch(address.path)  # still quoted: a branch may hold a slash
        repository = self.hub.repositories.get((route["kind"] or "models", route["id"])) if route else None
        token = bearer.removeprefix("Bearer ") if bearer else None
        if token is not None and token not in self.hub.tokens:
            return self.refuse(401, "", "Invalid credentials in Authorization header")
        if route is None or repository is None:
            return self.refuse(401 if token is None else 404, "RepoNotFound", "Repository not found")
        if self.goes_wrong(repository):
            return None
        if route["revision"] not in (None, "main", repository.commit):
            return self.refuse(404, "RevisionNotFound", f"Invalid rev id: {route['revision']}")
        path = unquote(route["path"] or "")
        if route["action"] == "resolve":
            return self.send_file(repository, path, token)
        if route["action"] == "tree":
            return self.send_json(self.tree(repository, path, parse_qs(address.query)))
        if route["action"] == "paths-info":
            return self.send_json(self.paths_info(repository, form))
        return self.send_json(self.info(repository, "blobs" in parse_qs(address.query)))

    def goes_wrong(self, repository: Repository) -> bool:
        """Play the repository's faults; whether the request is thereby dealt with."""
        if repository.hang_s:
            self.hub.closing.wait(repository.hang_s)
        with self.hub.lock:
            fails = repository.fail_times > 0
            cut = not fails and repository.cut_times > 0
            repository.fail_times -= fails
            repository.cut_times -= cut
        if fails:
            self.refuse(repository.fail_status, "", "Come back later", repository.retry_after, repository.echo)
        return fails or cut

    def refuse(self, status: int, code: str, message: str, retry_after: str | None = None, echo: bool = False) -> None:
        if echo:
            message += f" ({self.headers.get('Authorization')})"
        headers = {"X-Error-Message": message}
        if code:
            headers["X-Error-Code"] = code
        if retry_after is not None:
            headers["Retry-After"] = retry_after
        self.send(status, json.dumps({"error": message}).encode(), headers)

    def send_json(self, value: object) -> None:
        self.send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):  # a client that was told to stop is gone
                self.wfile.write(body)

    def send_file(self, repository: Repository, name: str, token: str | None) -> None:
        if repository.gated and token not in repository.accepted:
            status = 401 if token is None else 403
            return self.refuse(status, "GatedRepo", f"Access to model {repository.id} is restricted.")
        path = repository.files().get(name)
        headers = {"X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        if path is None:
            return self.send(404, b"", {**headers, "X-Error-Code": "EntryNotFound"})
        body = path.read_bytes()
        headers |= {"ETag": f'"{checksum(name, body)}"', "X-Linked-Size": str(len(body))}
        wanted = self.command == "GET" and name.endswith(".safetensors")
        with self.hub.lock:
            wrong = wanted and (repository.wrong_bytes or repository.wrong_times > 0)
            short = wanted and repository.short_times > 0
            repository.wrong_times -= wrong and not repository.wrong_bytes
            repository.short_times -= short
        if wrong:
            body = bytes(255 - byte for byte in body)
        if short:
            body = body[:-64]
        status, total = 200, len(body)
        if span := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first, last = int(span[1]), min(int(span[2] or total - 1), total - 1)
            if first >= total:
                return self.send(416, b"", {**headers, "Content-Range": f"bytes */{total}"})
            status, body = 206, body[first : last + 1]
            headers["Content-Range"] = f"bytes {first}-{last}/{total}"
        with self.hub.lock:
            half = self.command == "GET" and repository.half_times > 0
            repository.half_times -= half
            stall = self.command == "GET" and not half and repository.stall_times > 0
            repository.stall_times -= stall
        if stall:
            self.send(status, body[: len(body) // 2], headers | {"Content-Length": str(len(body))})
            self.wfile.flush()
            self.hub.closing.wait(60)
            return None
        if half:
            headers["Content-Length"], body = str(len(body)), body[: len(body) // 2]
        return self.send(status, body, headers)

    def info(self, repository: Repository, blobs: bool) -> dict[str, Any]:
        files = repository.files().items()
        return {
            "id": repository.id,
            "sha": repository.commit,
            "private": False,
            "gated": "auto" if repository.gated else False,
            "disabled": False,
            "tags": [],
            "lastModified": "2024-01-01T00:00:00.000Z",
            "cardData": {"license": repository.licence} if repository.licence else None,
            "siblings": [
                {"rfilename": n} | (listed(n, p.read_bytes(), repository.nonsense) if blobs else {}) for n, p in files
            ],
        }

    def tree(self, repository: Repository, under: str, query: dict[str, list[str]]) -> list[dict[str, Any]]:
        recursive = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        prefix = f"{under.strip('/')}/" if under.strip("/") else ""
        entries: dict[str, dict[str, Any]] = {}
        for name, path in repository.files().items():
            if not name.startswith(prefix):
                continue
            *parents, _ = name.removeprefix(prefix).split("/")
            for depth in range(1, len(parents) + 1 if recursive else min(len(parents), 1) + 1):
                folder = prefix + "/".join(parents[:depth])
                entries[folder] = folder_entry(folder)
            if recursive or not parents:
                entries[name] = file_entry(name, path)
        return list(entries.values())

    def paths_info(self, repository: Repository, form: str) -> list[dict[str, Any]]:
        in_json = "json" in (self.headers.get("Content-Type") or "")
        asked = json.loads(form)["paths"] if in_json else parse_qs(form).get("paths", [])
        files = repository.files()
        entries = []
        for name in asked if isinstance(asked, list) else [asked]:
            if name in files:
                entries.append(file_entry(name, files[name]))
            elif any(file.startswith(f"{name}/") for file in files):
                entries.append(folder_entry(name))
        return entries


def checksum(name: str, body: bytes) -> str:
    """sha256 of a file that the hub would store with LFS, else git's blob id."""
    stored_with_lfs = name.endswith(".safetensors")
    return hashlib.sha256(body).hexdigest() if stored_with_lfs else digest(b"blob %d\0" % len(body) + body)


def listed(name: str, body: bytes, nonsense: bool) -> dict[str, Any]:
    """What the hub tells of a file with `?blobs=true`."""
    lfs = "text" if nonsense else {"sha256": checksum(name, body), "size": len(body), "pointerSize": 134}
    return {"size": len(body), "blobId": checksum("", body)} | ({"lfs": lfs} if name.endswith(".safetensors") else {})


def digest(body: bytes) -> str:
    return hashlib.sha1(body).hexdigest()


def file_entry(name: str, path: Path) -> dict[str, Any]:
    body = path.read_bytes()
    return {"type": "file", "path": name, "size": len(body), "oid": digest(body)}


def folder_entry(name: str) -> dict[str, Any]:
    return {"type": "directory", "path": name, "size": 0, "oid": digest(name.encode())}
