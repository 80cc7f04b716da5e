"""Seeded division of images into splits."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from itertools import accumulate

from hieraseg.errors import DataError


def divide(
    ids: Iterable[str], shares: Mapping[str, float], seed: int, group: str | None
) -> dict[str, list[str]]:
    """Divide ids at random, so that each split has about its share of them, and at least one.

    Ids of one group stay together. Groups are put into an order that depends on the seed and their
    names alone, and this order is cut where the shares are met best. So the result does not depend
    on the order of the ids, and a few more images move few others.

    Args:
        ids: the ids.
        shares: share of each split, which sum to 1.
        seed: seed of the order.
        group: regular expression that is searched in an id, of which the first group, or else the
            whole match, names the id's group. None for a group of its own for each id.

    Raises:
        DataError: an id is in no group, or there are fewer groups than splits.
    """
    groups: dict[str, list[str]] = {}
    for id in ids:
        groups.setdefault(_group_of(id, group), []).append(id)
    if len(groups) < len(shares):
        what = "images" if group is None else f"groups of images (data.group is {group!r})"
        raise DataError(
            f"there are only {len(groups)} {what} for the {len(shares)} splits "
            f"{', '.join(shares)}; add images, or use fewer splits"
        )
    order = sorted(groups, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())
    ends = list(accumulate(len(groups[name]) for name in order))
    start, divided = 0, {}
    for index, (split, until) in enumerate(zip(shares, accumulate(shares.values()), strict=True)):
        last = len(order) - (len(shares) - index - 1)  # a group is left for each further split
        cuts = range(start + 1, last + 1) if index < len(shares) - 1 else [len(order)]
        cut = min(cuts, key=lambda cut: abs(ends[cut - 1] - until * ends[-1]))
        divided[split] = sorted(id for name in order[start:cut] for id in groups[name])
        start = cut
    return divided


def _group_of(id: str, group: str | None) -> str:
    if group is None:
        return id
    found = re.search(group, id)
    name = found and (found[1] if found.re.groups else found[0])
    if not name:
        raise DataError(
            f"{id}: is in no group, since data.group {group!r} is not found in this id; make it "
            "match all ids"
        )
    return name
