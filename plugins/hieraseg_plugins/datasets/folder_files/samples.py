"""Images and their masks, as templates find them."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hieraseg.console import warn
from hieraseg.errors import DataError
from hieraseg_plugins.datasets.folder_files.closest import closest, nothing_found
from hieraseg_plugins.datasets.folder_files.listing import list_files
from hieraseg_plugins.datasets.folder_files.templates import Template, Values

_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # in names of outputs and in JSON
_BE_SPECIFIC = "make the templates images and masks more specific"


class Sample(NamedTuple):
    """An image and its mask.

    Attributes:
        image: path of the image, or where it is expected below a root.
        mask: the same of the mask.
        has_image: whether the image is there.
        has_mask: whether the mask is there.
        split: what `{split}` is in the image's path.
    """

    image: str
    mask: str
    has_image: bool = True
    has_mask: bool = True
    split: str = ""


def find_samples(roots: Sequence[Path], images: Template, masks: Template) -> dict[str, Sample]:
    """Find the images of a template, and the mask of each.

    A file that is the mask of another image is no image. A warning counts masks without an image,
    such as those of images with another suffix.

    Returns:
        Samples by id, in order. Masks may be missing.

    Raises:
        DataError: there are no images, an id has two images or masks, or two ids have one mask.
    """
    targets = {masks.key(values): path for values, path in _find(roots, masks)}
    samples: dict[str, Sample] = {}
    owners: dict[str, str] = {}
    for values, image in _find(roots, images):
        id, mask = values.path, targets.get(masks.key(values))
        if _UNUSABLE.search(id):
            raise DataError(
                f"{image!r}: the name has control characters, or is not UTF-8; rename the file"
            )
        if mask == image:
            raise DataError(f"{image}: is the image and the mask of {id!r}; {_BE_SPECIFIC}")
        if mask is None:
            samples[id] = Sample(image, masks.fill(values), has_mask=False, split=values.split)
        elif owners.setdefault(mask, id) == id:
            samples[id] = Sample(image, mask, split=values.split)
        else:
            raise DataError(
                f"{mask}: is the mask of both {owners[mask]!r} and {id!r}; {_BE_SPECIFIC}"
            )
    samples = {id: one for id, one in sorted(samples.items()) if one.image not in owners}
    if not samples:
        raise DataError(nothing_found(roots, images))
    _warn_of_unused(targets.values(), samples)
    return samples


def _warn_of_unused(masks: Collection[str], samples: Mapping[str, Sample]) -> None:
    used = {path for one in samples.values() for path in (one.image, one.mask)}
    unused = sorted(path for path in masks if path not in used)
    if unused:
        warn(
            f"{unused[0]}: this mask, one of {len(unused)} of {len(masks)}, has no image, and is "
            "not used; data.images may leave out images with another name or suffix"
        )


def check_files(
    roots: Sequence[Path],
    split: str,
    ids: Sequence[str],
    samples: Mapping[str, Sample],
    source: str,
) -> None:
    """Check that no file of a split is missing.

    Args:
        roots: folders of the data set.
        split: name of the split.
        ids: its ids.
        samples: images and masks of all splits by id.
        source: the list that names them; empty if templates do.

    Raises:
        DataError: how many files are missing, and the closest one that is there.
    """
    place = source or " and ".join(map(str, roots))
    own = [samples[id] for id in ids]
    no_image = [one.image for one in own if not one.has_image]
    no_mask = [one.mask for one in own if not one.has_mask]
    for what, missing in (("image", no_image), ("mask", no_mask)):
        if missing:
            some = ", ".join(map(repr, missing[:3])) + (", ..." if len(missing) > 3 else "")
            fix = f"correct data.{what}s, or leave the split out of data.splits"
            fix = "or correct the list" if source else fix
            raise DataError(
                f"{place}: {len(missing)} of {len(own)} {what}s of the split {split!r} are "
                f"missing: {some}{_closest(roots, missing[0], samples)}; add the files, "
                f"{fix}"
            )


def _closest(roots: Sequence[Path], path: str, samples: Mapping[str, Sample]) -> str:
    used = {path for one in samples.values() for path in (one.image, one.mask)}
    files = [file for root in roots for file in list_files(root, "", None)]
    found = closest(path, [file for file in files if all(f"{r}/{file}" not in used for r in roots)])
    return f" (the closest file to the first one is {found!r})" if found else ""


def _find(roots: Sequence[Path], template: Template) -> Iterator[tuple[Values, str]]:
    """Values and path of each file of a template."""
    found: dict[str, str] = {}
    for root in roots:
        for path in list_files(root, template.prefix, template.levels):
            values = template.match(path)
            if values is None:
                continue
            file = f"{root}/{path}"
            if found.setdefault(values.path, file) != file:
                one, other = sorted((found[values.path], file))
                raise DataError(
                    f"{one} and {other}: both are {values.path!r} of the template "
                    f"{template.text!r}; {_BE_SPECIFIC}, or rename one of them"
                )
            yield values, file
