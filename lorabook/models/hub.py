"""Asking the Hugging Face Hub for a model: token, retries, what a refusal means."""

import errno
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from lorabook.errors import LicenceError, ModelError, NetworkError, NoTokenError, did_you_mean
from lorabook.models.known import KNOWN

T = TypeVar("T")

UNGATED = "bigcode/tiny_starcoder_py"
TOKENS_PAGE = "https://huggingface.co/settings/tokens"
WAITS_S = (1.0, 2.0)  # pauses before the second and the third try
LONGEST_WAIT_S = 30.0  # as much of a Retry-After as is honoured
BUSY_STATUSES = (408, 429, 500, 502, 503, 504)


def find_token(token: str | None = None) -> str | None:
    """The access token: the argument, else huggingface_hub's (HF_TOKEN, then its login), else Colab's or Kaggle's.

    Whatever goes wrong on the way (no such secret, access refused, no answer in time) means that there is no token.
    """
    if token is None:
        from huggingface_hub import get_token

        try:
            token = get_token() or _secret()
        except Exception:  # a login that could not be refreshed, a vault that failed
            token = None
    token = token.strip() if token else None
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise NoTokenError("The access token holds characters that no token has.", "Copy it again, whole and alone.")
    return token or None


def on_kaggle() -> bool:
    return "KAGGLE_KERNEL_RUN_TYPE" in os.environ


def _secret() -> str | None:
    """The notebook's secret, asked for afresh: huggingface_hub asks Colab once and remembers a no for the session."""
    if on_kaggle():
        from kaggle_secrets import UserSecretsClient  # pyright: ignore[reportMissingImports]

        return UserSecretsClient().get_secret("HF_TOKEN")
    if "google.colab" not in sys.modules:
        return None
    from google.colab import userdata  # pyright: ignore[reportMissingImports]

    return userdata.get("HF_TOKEN")


def checksum(sibling: Any) -> str | None:
    """The checksum that the hub lists for a file: sha256 in hex where it is stored with LFS, else git's blob id."""
    lfs = getattr(sibling, "lfs", None)
    listed = lfs.get("sha256") if isinstance(lfs, dict) else getattr(sibling, "blob_id", None)
    return listed if isinstance(listed, str) else None


def is_whole(path: Path, listed: str) -> bool:
    """Whether the bytes of a file have the checksum that the hub lists."""
    start = hashlib.sha256() if len(listed) == 64 else hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with open(path, "rb") as f:
        return hashlib.file_digest(f, lambda: start).hexdigest() == listed


def patiently(name: str, token: str | None, call: Callable[[], T]) -> T:
    """`call()`, tried again after a pause while the hub is busy or the connection breaks.

    Raises what `explain` makes of the last failure, without the chain: a client's message can quote its request.
    """
    for wait in (*WAITS_S, None):
        try:
            return call()
        except Exception as error:
            problem = explain(name, token, error)
            if problem is None:
                raise
            pause = _pause(error, wait)
            if pause is None:
                raise problem from None
        time.sleep(pause)
    raise AssertionError("the last try returns or raises")


def _pause(error: Exception, wait: float | None) -> float | None:
    """Seconds until the next try, None if there is none: the error will not pass, or the tries are used up."""
    from huggingface_hub.errors import HfHubHTTPError

    if wait is None:
        return None
    if not isinstance(error, HfHubHTTPError):
        return wait if _connection_failed(error) else None
    if error.response.status_code not in BUSY_STATUSES:
        return None
    asked = error.response.headers.get("Retry-After", "")
    return min(float(asked), LONGEST_WAIT_S) if asked.isdecimal() else wait


def _connection_failed(error: Exception) -> bool:
    """Whether no hub answered, or its answer broke off: trying again may help."""
    from huggingface_hub import errors as hub

    if isinstance(error, hub.HfHubHTTPError | hub.OfflineModeIsEnabled | hub.LocalEntryNotFoundError):
        return False
    client_error = hub.HfHubHTTPError.__bases__[0]  # httpx's HTTPError; later versions use httpx2's
    if isinstance(error, client_error | ConnectionError | TimeoutError | hub.FileMetadataError | json.JSONDecodeError):
        return True
    incomplete = type(error) is OSError and error.errno is None  # a file shorter than announced
    return incomplete or type(error).__name__ in ("RuntimeError", "XetDownloadError")


def explain(name: str, token: str | None, error: Exception) -> ModelError | None:
    """What a failed request for model `name` means for the user, as an error of ours; None if it is no such failure."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    page = f"https://huggingface.co/{name}"
    status = error.response.status_code if isinstance(error, hub.HfHubHTTPError) else None
    if isinstance(error, hub.GatedRepoError):
        return _gated(name, page, token)
    if isinstance(error, hub.RepositoryNotFoundError):
        advice = f"{did_you_mean(name, KNOWN)}The workbook's models are {', '.join(KNOWN)}."
        return ModelError(f"The hub has no model {name}, or none that you may see.", advice)
    if isinstance(error, hub.RevisionNotFoundError):
        return ModelError(f"{name} has no such revision on the hub.", f"{page}/commits/main lists its revisions.")
    if isinstance(error, hub.HFValidationError):
        return ModelError(f"{name!r} is neither a folder nor a hub id.", "A hub id reads owner/model.")
    if isinstance(error, hub.OfflineModeIsEnabled | hub.LocalEntryNotFoundError) or _connection_failed(error):
        offline = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the Hugging Face Hub cannot be reached"
        switch = "Switch Internet on in this notebook's settings" if on_kaggle() else "Run this again with a network"
        return NetworkError(
            f"{name} is not on this machine, and {offline}.",
            f"{did_you_mean(name, KNOWN)}{switch}, or use pocket, which ships with lorabook.",
        )
    if isinstance(error, hub.EntryNotFoundError):
        return ModelError(f"{name} holds no config.json, so it is no transformers model.", f"Look at {page}.")
    if status in (401, 403):
        return NoTokenError(
            "The hub does not accept the access token: it is mistyped, expired, or may not read gated models.",
            f"Make one with read access at {TOKENS_PAGE}.",
        )
    if status is not None:
        return NetworkError(
            f"The hub keeps answering {status} when asked for {name}.",
            "Run this again in some minutes, or use pocket, which ships with lorabook.",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return ModelError(
            f"{name} does not fit on the disk of {constants.HF_HUB_CACHE}.",
            "Free some space, or set HF_HOME elsewhere.",
        )
    if isinstance(error, TypeError | KeyError | AttributeError | ValueError):  # its client stumbled over the answer
        return NetworkError(
            f"What the hub answered about {name} cannot be read ({type(error).__name__}).",
            "Run this again in some minutes; behind a proxy or a mirror, ask the real hub.",
        )
    return None


def _gated(name: str, page: str, token: str | None) -> ModelError:
    offer = f"or use {UNGATED}, which is not gated."
    if token is None:
        return NoTokenError(
            f"{name} is gated, and no access token was found.",
            f"Accept its licence at {page} and set HF_TOKEN to a token from {TOKENS_PAGE} "
            f"(on Colab and Kaggle: the secret of that name), {offer}",
        )
    return LicenceError(
        f"{name} is gated, and the account of this access token has not accepted its licence.",
        f"Accept it at {page} and run this again, {offer}",
    )
