"""What a class tree is known by: everything that scores and weights depend on."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from hieraseg.hierarchy.tree import Hierarchy


def describe(hierarchy: Hierarchy) -> dict[str, Any]:
    """The whole tree as JSON values, which a checkpoint keeps."""
    return {
        "classes": hierarchy.level_names,
        "parents": [parents.tolist() for parents in hierarchy.parents],
        "labels": [[value, name] for value, name in hierarchy.labels.items()],
        "void": list(hierarchy.void),
        "background": hierarchy.background,
        "pairs": sorted([left, right] for left, right in hierarchy.pairs),
    }


def record(hierarchy: Hierarchy) -> dict[str, Any]:
    """The tree as it stands beside scores: hashes of its longer parts.

    Trees that differ only in the order of their classes have the same record.
    """
    whole = describe(hierarchy)
    edges = [
        [level, name, hierarchy.level_names[level - 1][parent] if level else None]
        for level, parents in enumerate(whole["parents"])
        for name, parent in zip(hierarchy.level_names[level], parents, strict=True)
    ]
    return {
        "parents": _digest(sorted(edges)),
        "labels": _digest(whole["labels"]),
        "pairs": _digest(whole["pairs"]),
        "void": whole["void"],
        "background": whole["background"],
    }


def differing_parts(hierarchy: Hierarchy, described: Mapping[str, Any]) -> list[str]:
    """Parts of a tree that are not as `describe` gave them earlier; missing ones are not known."""
    now = describe(hierarchy)
    return [part for part in now if part in described and described[part] != now[part]]


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
