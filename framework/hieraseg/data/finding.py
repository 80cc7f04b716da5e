"""Finding image files that a user names."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from hieraseg.console import log
from hieraseg.errors import DataError


class ImageFile(NamedTuple):
    """An image file, and how outputs that belong to it are called.

    Attributes:
        path: the file.
        id: its path below the folder that was searched, without suffix, such as `a/b` for
            `<folder>/a/b.jpg`; the stem of a file that was named itself.
    """

    path: Path
    id: str


def find_images(given: Sequence[str | Path], excluded: Path) -> tuple[list[ImageFile], list[str]]:
    """Find image files.

    In folders and their sub-folders, images are known by the suffixes of Pillow's formats. Hidden
    files and folders are left out. Links to folders are followed; no folder is searched twice. The
    number of other files is logged.

    Args:
        given: image files, which need not exist, and folders.
        excluded: a sub-folder that is not searched.

    Returns:
        The images, sorted within each folder and each once, and a message for each sub-folder
        that cannot be read.

    Raises:
        DataError: a folder has no images.
    """
    images: dict[ImageFile, None] = {}  # an ordered set
    others: list[Path] = []
    problems: list[str] = []
    suffixes = _suffixes()
    for path in map(Path, given):
        if not path.is_dir():
            images[ImageFile(path, path.stem)] = None
            continue
        files = sorted(_walk(path, excluded, problems))
        found = [file for file in files if file.suffix.lower() in suffixes]
        if not found and not problems:
            raise DataError(f"{path}: has no images; name image files or a folder of them")
        images |= {
            ImageFile(file, str(file.relative_to(path).with_suffix(""))): None for file in found
        }
        others += sorted(set(files) - set(found))
    if others:
        names = ", ".join(map(str, others[:3])) + (", ..." if len(others) > 3 else "")
        total = len(images) + len(others)
        log(f"skipped {len(others)} of {total} files, whose suffix is not of an image: {names}")
    return list(images), problems


def _walk(folder: Path, excluded: Path, problems: list[str]) -> Iterator[Path]:
    """All files of a folder and its sub-folders that are not hidden."""
    searched = {excluded.resolve(), folder.resolve()}

    def report(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be read ({error.strerror})")

    for root, folders, files in os.walk(folder, followlinks=True, onerror=report):
        visible = [name for name in sorted(folders) if not name.startswith(".")]
        folders.clear()
        for name in visible:
            place = Path(root, name).resolve()
            if place not in searched:
                searched.add(place)
                folders.append(name)
        for name in files:
            path = Path(root, name)
            # A broken link is reported when it is read, but reading a pipe would never end.
            if not name.startswith(".") and (path.is_file() or not path.exists()):
                yield path


def _suffixes() -> set[str]:
    """Suffixes of the formats that Pillow reads and that hold images: not video, not vectors."""
    return {
        suffix
        for suffix, name in Image.registered_extensions().items()
        if name in Image.OPEN and Image.MIME.get(name, "").startswith("image/")
    }
