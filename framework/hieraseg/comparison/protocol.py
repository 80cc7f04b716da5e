"""The protocol by which runs were scored, and in what it differs between rows."""

from collections.abc import Iterable, Mapping
from typing import Any

from hieraseg.comparison.rows import Row

_PLAIN = "scales 1"
"""Test-time augmentation that is none."""

_RESOLUTIONS = {"native": "at the resolution of the targets", "input": "at the input's resolution"}


def protocol_of(scores: Mapping[str, Any]) -> dict[str, str]:
    """Protocol and data of scores, as far as they are known: older runs recorded less of it."""
    protocol = {
        "data": scores["data"],
        "classes": "; ".join(",".join(sorted(level["iou"])) for level in scores["levels"]),
        "resolution": scores["resolution"],
        # Older runs call it `views`, and the oldest had none.
        "tta": scores.get("tta") or scores.get("views", _PLAIN),
        "checkpoint": scores["checkpoint"],
    }
    if scores["resolution"] == "input":
        # Older runs stretched images to one size.
        protocol["resize"] = resize = scores.get("resize", "stretch")
        if resize != "none" and "size" in scores:
            protocol["size"] = "x".join(map(str, scores["size"]))
    if "tree" in scores:
        tree = scores["tree"]
        protocol |= {
            "tree": tree["parents"],
            "labels": tree["labels"],
            "void": " ".join(map(str, tree["void"])) or "none",
            "background": tree["background"] or "none",
        }
    return protocol


def protocol_differences(rows: Iterable[Row]) -> dict[str, list[str]]:
    """Parts of the protocol that differ between runs.

    Returns:
        The distinct values of each differing part, as in
        `{"tta": ["scales 1", "scales 1, flip"]}`. Empty if all scores are comparable.
    """
    values: dict[str, dict[str, None]] = {}
    for scores in (scores for row in rows for scores in row.scores):
        for part, value in protocol_of(scores).items():
            values.setdefault(part, {})[value] = None
    return {part: list(distinct) for part, distinct in values.items() if len(distinct) > 1}


def shared_protocol(rows: Iterable[Row]) -> str:
    """The protocol of all rows in words, for the heading of a table, without what differs."""
    scores = [scores for row in rows for scores in row.scores]
    protocols = [protocol_of(one) for one in scores]
    shared = {
        part: value
        for part, value in protocols[0].items()
        if all(protocol.get(part) == value for protocol in protocols)
    }
    words = []
    if "background" in shared:
        background = shared["background"]
        words.append(f"mIoU over all classes{'' if background == 'none' else f' but {background}'}")
    if "resolution" in shared:
        words.append(_RESOLUTIONS.get(shared["resolution"], shared["resolution"]))
    if shared.get("tta", _PLAIN) != _PLAIN:
        words.append(f"test-time augmentation {shared['tta']}")
    if "checkpoint" in shared:
        words.append(f"{shared['checkpoint']} checkpoint")
    return ", ".join(words)


def in_words(different: Mapping[str, Iterable[str]]) -> str:
    """Differing parts of the protocol, as in `data, tta (scales 1 | scales 1, flip)`."""
    # Hashes and lists of classes are too long to read.
    return ", ".join(
        key if key in ("data", "classes", "tree", "labels") else f"{key} ({' | '.join(values)})"
        for key, values in different.items()
    )
