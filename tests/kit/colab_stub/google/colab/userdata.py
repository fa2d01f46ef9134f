"""Colab's vault of secrets. `behaviour` is what the reader did when asked for access."""

import time

TOKEN = "hf_of_the_stub"
behaviour = "absent"  # or "answers", "refuses", "times out"


class SecretNotFoundError(AttributeError):
    """The vault holds no secret of this name."""


class NotebookAccessError(AttributeError):
    """The reader did not let this notebook see the secret."""


class TimeoutException(Exception):
    """Nobody answered the question for access."""


def get(key: str) -> str:
    if behaviour == "answers" and key == "HF_TOKEN":
        return TOKEN
    if behaviour == "refuses":
        raise NotebookAccessError(f"Notebook does not have access to secret {key}")
    if behaviour == "times out":
        time.sleep(0.1)
        raise TimeoutException(f"Requesting secret {key} timed out")
    raise SecretNotFoundError(f"Secret {key} does not exist.")
