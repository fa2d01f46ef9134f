"""A process that loads from the stub of the hub: `python -m tests.faults.network_client JSON`.

A line of JSON tells what came of each. Started with `"blocked"`, it has no network at all.
"""

import json
import socket
import sys
import time
import traceback


def refuse(*arguments: object, **named: object) -> None:
    raise OSError("no network in this process")


def main() -> None:
    asked = json.loads(sys.argv[1])
    if asked.get("blocked"):
        socket.socket.connect = socket.getaddrinfo = refuse  # type: ignore[assignment, method-assign]
    from datasets import config

    from lorabook.data import stackoverflow
    from lorabook.errors import LorabookError
    from lorabook.models import hub, load_model

    hub.WAITS_S = (0.01, 0.02)
    config.STREAMING_READ_MAX_RETRIES = config.STREAMING_OPEN_MAX_RETRIES = 2
    config.STREAMING_READ_RETRY_INTERVAL = config.STREAMING_OPEN_RETRY_INTERVAL = 0  # type: ignore[assignment]
    for case in asked["cases"]:
        started = time.monotonic()
        try:
            if case.get("data"):
                said = {"read": stackoverflow.load(case["name"], rows=5).report.read}
            else:
                loaded = load_model(case["name"], device="cpu", token=case.get("token"))
                said = {"first": next(loaded.model.parameters()).double().sum().item()}
        except LorabookError as error:
            said = {"error": type(error).__name__, "text": str(error)}
            traceback.print_exc()
        except Exception as error:
            said = {"error": f"not ours: {type(error).__name__}", "text": str(error)}
            traceback.print_exc()
        print(json.dumps({**case, **said, "seconds": time.monotonic() - started}), flush=True)


if __name__ == "__main__":
    main()
