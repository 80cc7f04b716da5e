"""Images and their masks, as templates find them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hieraseg.errors import DataError
from hieraseg_plugins.datasets.folder_files.closest import closest, nothing_found
from hieraseg_plugins.datasets.folder_files.listing import list_files
from hieraseg_plugins.datasets.folder_files.templates import Template, Values


class Sample(NamedTuple):
    """An image and its mask.

    Attributes:
        image: path of the image relative to its root, or where it is expected.
        mask: the same of the mask.
        image_root: folder that has the image; None if none has.
        mask_root: folder that has the mask; None if none has.
        split: what `{split}` is in the image's path.
    """

    image: str
    mask: str
    image_root: Path | None
    mask_root: Path | None
    split: str = ""

    @property
    def image_path(self) -> Path:
        """The image's file."""
        return (self.image_root or Path()) / self.image

    @property
    def mask_path(self) -> Path:
        """The mask's file."""
        return (self.mask_root or Path()) / self.mask


def find_samples(roots: Sequence[Path], images: Template, masks: Template) -> dict[str, Sample]:
    """Find the images of a template, and the mask of each.

    A file that is the mask of another image is no image.

    Returns:
        Samples by id, in order. Masks may be missing.

    Raises:
        DataError: there are no images, or two files are the image or the mask of one id.
    """
    found = _find(roots, images)
    targets = _find(roots, masks)
    of_image = {values: targets.get(masks.key(values)) for values in found}
    taken = set(of_image.values())
    samples = {}
    for values, (root, path) in found.items():
        if of_image[values] == (root, path):
            raise DataError(
                f"{root}/{path}: is both the image and the mask of {values.path!r}; make the "
                "templates images and masks more specific"
            )
        if (root, path) in taken:
            continue
        mask_root, mask = of_image[values] or (None, masks.fill(values))
        samples[values.path] = Sample(path, mask, root, mask_root, values.split)
    if not samples:
        raise DataError(nothing_found(roots, images))
    return dict(sorted(samples.items()))


def check_files(roots: Sequence[Path], split: str, samples: Mapping[str, Sample]) -> None:
    """Check that a split has images, and that none of its files is missing.

    Raises:
        DataError: how many files are missing, and the closest one that is there.
    """
    below = " and ".join(map(str, roots))
    if not samples:
        raise DataError(f"{below}: the split {split!r} has no images; change data.splits")
    no_image = [one.image for one in samples.values() if one.image_root is None]
    no_mask = [one.mask for one in samples.values() if one.mask_root is None]
    for what, missing in (("image", no_image), ("mask", no_mask)):
        if missing:
            raise DataError(
                f"{below}: {len(missing)} of {len(samples)} {what}s of the split {split!r} are "
                f"missing{_such_as(missing)}{_closest(roots, missing[0], samples)}; add the files, "
                f"change data.{what}s to how they are named, or leave them out of the split"
            )


def _such_as(missing: list[str]) -> str:
    return ": " + ", ".join(map(repr, missing[:3])) + (", ..." if len(missing) > 3 else "")


def _closest(roots: Sequence[Path], path: str, samples: Mapping[str, Sample]) -> str:
    used = {path for one in samples.values() for path in (one.image, one.mask)}
    files = (file for root in roots for file in list_files(root, "", None))
    found = closest(path, (file for file in files if file not in used))
    return f"; the closest file to the first one is {found!r}" if found else ""


def _find(roots: Sequence[Path], template: Template) -> dict[Values, tuple[Path, str]]:
    """Root and path of the file with each of the template's values."""
    found: dict[Values, tuple[Path, str]] = {}
    for root in roots:
        for path in list_files(root, template.prefix, template.levels):
            values = template.match(path)
            if values is None:
                continue
            if values in found:
                other = "/".join(map(str, found[values]))
                raise DataError(
                    f"{other} and {root}/{path} are both the file of {values.path!r} for the "
                    f"template {template.text!r}; rename or move one of them, or make the template "
                    "more specific"
                )
            found[values] = root, path
    return found
