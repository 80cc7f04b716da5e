"""Reading the plotly figures of a page."""

import base64
import json
from typing import Any

import numpy as np


def figures_in(html: str) -> list[dict[str, Any]]:
    """The figures of a part of a page, with arrays as lists."""
    parts = html.split('<script type="application/json">')[1:]
    return [_decoded(json.loads(part.partition("</script>")[0])) for part in parts]


def _decoded(value: Any) -> Any:
    if isinstance(value, dict) and "bdata" in value:
        array = np.frombuffer(base64.b64decode(value["bdata"]), np.dtype(value["dtype"]))
        shape = [int(size) for size in str(value.get("shape", array.size)).split(",")]
        return array.reshape(shape).tolist()
    if isinstance(value, dict):
        return {key: _decoded(item) for key, item in value.items()}
    return [_decoded(item) for item in value] if isinstance(value, list) else value
