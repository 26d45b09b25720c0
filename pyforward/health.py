"""``python -m pyforward.health``: whether the server of this machine answers, as an exit code.

Nothing is asked of the settings, which this process need not know: the server itself says where it
answers, in its ready file, with TLS or without, on whatever port. A container asks every few
seconds on the cores that forward, so that this file imports next to nothing.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import urllib.request
from pathlib import Path

READY_FILE = "PYFORWARD_READY_FILE"
"""The variable that names the ready file, to the server and to whoever asks how it is."""

ANSWERS_WITHIN_S = 2.0


def main() -> int:
    """0 if ``/healthz`` answers, 1 with one line if not."""
    sick = complaint(os.environ.get(READY_FILE, ""))
    if sick:
        sys.stderr.write(f"pyforward: {sick}\n")
    return int(bool(sick))


def complaint(ready_file: str) -> str:
    """What is wrong with the server that wrote this file, in a sentence; empty if nothing is."""
    if not ready_file:
        return f"{READY_FILE} is not set: it names the file in which the server says where it is."
    try:
        url = str(json.loads(Path(ready_file).read_text(encoding="utf-8"))["http_url"])
    except (OSError, ValueError, LookupError, TypeError):
        return f"{ready_file} names no server: none runs, or its --ready-file is another one."
    try:
        with _opener().open(f"{url}/healthz", timeout=ANSWERS_WITHIN_S):
            return ""
    except (OSError, ValueError) as error:
        return f"{url} does not answer: {error}."


# Private -----------------------------------------------------------------------------------------


def _opener() -> urllib.request.OpenerDirector:
    """It trusts whatever certificate there is, which is made out for the name that others use, and
    passes by any proxy."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )


if __name__ == "__main__":
    sys.exit(main())
