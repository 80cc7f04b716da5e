"""How far a run can be resumed, read without PyTorch."""

import json
from pathlib import Path
from typing import Any

from hieraseg.files.writing import versions
from hieraseg.runs.folder import RunFolder

_WEIGHTS, _STATE = "model.safetensors", "state.pt"
_LARGEST = 2**24
"""Bytes of the largest header that is read."""


def saved_step(folder: RunFolder) -> int | None:
    """Steps that the newest checkpoint with a state was written after; None if there is none.

    Whether its files are whole is only found out when it is read.
    """
    for path in versions(folder.checkpoint("last")):
        if (path / _STATE).is_file():
            step = _metadata(path / _WEIGHTS).get("step")
            if isinstance(step, int):
                return step
    return None


def _metadata(weights: Path) -> dict[str, Any]:
    """What hieraseg wrote into the header of a safetensors file; nothing if it is damaged."""
    try:
        with weights.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(min(size, _LARGEST)))
        found = json.loads(header["__metadata__"]["hieraseg"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
