"""The pocket model's corpus, found on this machine: Python source, documentation, a tokenizer trained on both.

Training text is the standard library (with `pydoc_data`, Python's own language reference) and every permissively
licensed package installed beside this script. Files are de-duplicated by hash. Whole packages are held out, and so
is any file that lies under a folder of their name elsewhere, because packages carry vendored copies of each other.
"""

import hashlib
import importlib.metadata
import random
import re
import sysconfig
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HELD_OUT = {"networkx": "networkx", "rich": "rich", "tornado": "tornado", "beautifulsoup4": "bs4", "jinja2": "jinja2"}
PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|HPND|Unlicense|0BSD|CC0|Zlib)", re.I)
COPYLEFT = re.compile(r"GPL|Mozilla|MPL-|EPL|Eclipse|CDDL", re.I)
# debugpy carries EPL code; jedi, pyright and pip are mostly copies of other people's packages and stubs.
SKIP = {"debugpy", "jedi", "pyright", "pip"}
SPECIAL = ["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"]
VOCABULARY = 4096


def licence(dist: importlib.metadata.Distribution) -> str:
    """The licence a package declares, as one line, or '' where it declares none."""
    meta = dist.metadata
    classifiers = [c.split("::")[-1].strip() for c in meta.get_all("Classifier") or [] if c.startswith("License")]
    first_line = (meta.get("License") or "").strip().split("\n")[0]
    return meta.get("License-Expression") or "; ".join(classifiers) or first_line


def looks_written(text: str) -> bool:
    """Whether a file reads as source or prose: no data tables, no minified lines, mostly letters."""
    lines = text.split("\n")
    letters = sum(c.isalpha() or c.isspace() for c in text[:20_000]) / max(1, len(text[:20_000]))
    return 200 < len(text) < 400_000 and max(map(len, lines)) < 1_000 and letters > 0.6


def read(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    return text if looks_written(text) else None


def documents(cap_bytes: int = 10_000_000, seed: int = 0) -> tuple[list[str], list[str], list[dict]]:
    """Training documents, held-out documents and a list of sources (name, version, licence, bytes, held out).

    `cap_bytes` bounds what one package may contribute, so that none dominates.
    """
    folders_held_out = set(HELD_OUT.values())
    sources: list[dict] = []
    texts: dict[str, list[str]] = {"train": [], "held": []}
    seen: set[str] = set()

    def take(name: str, version: str, terms: str, paths: list[Path], held: bool) -> None:
        random.Random(f"{seed} {name}").shuffle(paths)
        used = files = 0
        for path in paths:
            text = read(path) if used < cap_bytes else None
            digest = hashlib.sha256(text.encode()).hexdigest() if text else ""
            if not text or digest in seen:
                continue
            seen.add(digest)
            texts["held" if held else "train"].append(text)
            used += len(text.encode())
            files += 1
        if used:
            sources.append(
                {"name": name, "version": version, "licence": terms, "files": files, "bytes": used, "held_out": held}
            )

    packages = sorted(importlib.metadata.distributions(), key=lambda d: d.metadata["Name"].lower())
    packages.sort(key=lambda d: d.metadata["Name"].lower() not in HELD_OUT)  # held-out first: their hashes are theirs
    for dist in packages:
        name, terms = dist.metadata["Name"], licence(dist)
        if name.lower() in SKIP or not PERMISSIVE.search(terms) or COPYLEFT.search(terms):
            continue
        held = name.lower() in HELD_OUT
        files = [f for f in dist.files or [] if f.suffix in (".py", ".rst", ".md")]
        if not held:
            files = [f for f in files if not folders_held_out.intersection(f.parts)]
        paths = sorted({Path(str(f.locate())).resolve() for f in files})
        take(name, dist.version.split("+")[0], terms, [p for p in paths if p.is_file()], held)
    stdlib = Path(sysconfig.get_paths()["stdlib"])
    paths = [
        p
        for p in sorted(stdlib.rglob("*.py"))
        if not {"site-packages", "test", "tests", "idle_test", "encodings", "pydoc_data"}.intersection(
            p.relative_to(stdlib).parts
        )
    ]
    take("Python standard library", sysconfig.get_python_version(), "PSF-2.0", paths, held=False)
    texts["train"] += topics.values()  # the language reference: prose, stored as one large dict
    sources.append(
        {
            "name": "Python language reference (pydoc_data)",
            "version": sysconfig.get_python_version(),
            "licence": "PSF-2.0",
            "files": len(topics),
            "bytes": sum(len(t.encode()) for t in topics.values()),
            "held_out": False,
        }
    )
    for part in texts.values():
        random.Random(seed).shuffle(part)
    return texts["train"], texts["held"], sources


def train_tokenizer(texts: list[str]) -> Tokenizer:
    """A byte-level BPE of 4,096 entries with StarCoder's special tokens first and, as there, digits split singly."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> np.ndarray:
    """All documents as one stream of ids, each document ended by `<|endoftext|>` (id 0)."""
    tokenizer.encode_special_tokens = True  # a special token's name inside a file is text, not a control token
    ids: list[np.ndarray] = []
    for start in range(0, len(texts), 500):
        for encoding in tokenizer.encode_batch_fast(texts[start : start + 500]):
            ids.append(np.array([*encoding.ids, 0], dtype=np.uint16))
    return np.concatenate(ids)
