"""The file that W&B writes of a run, which `wandb sync` uploads."""

import struct
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

_MAGIC = 7  # bytes at the beginning of a file
_BLOCK = 32768
_HEADER = struct.Struct("<IHB")  # checksum, size and kind of a part
_WHOLE, _FIRST, _LAST = 1, 2, 4  # kinds of parts


def read_history(folder: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of the history that are on the disk, oldest first.

    Args:
        folder: folder of the run, in which W&B has its folder `wandb`.

    Yields:
        Number of the row, and JSON values by name; of a picture, any part of its description.
    """
    protocol: Any = import_module("wandb.proto.wandb_internal_pb2")  # without types, both
    damaged = import_module("google.protobuf.message").DecodeError
    for file in sorted(folder.glob("wandb/*run-*/run-*.wandb")):
        for content in _records(file.read_bytes()):
            try:
                record = protocol.Record.FromString(content)
            except damaged:  # of blocks that were not written when the machine stopped
                continue
            if record.HasField("history"):
                items = record.history.item
                row = {one.key or one.nested_key[0]: one.value_json for one in items}
                yield record.history.step.num, row


def _records(content: bytes) -> Iterator[bytes]:
    """The records in a log of LevelDB's format, without a last one that was cut off."""
    position, parts = _MAGIC, b""
    while position + _HEADER.size <= len(content):
        left = _BLOCK - position % _BLOCK
        if left < _HEADER.size:
            position += left
            continue
        _, size, kind = _HEADER.unpack_from(content, position)
        position += _HEADER.size
        if kind in (_WHOLE, _FIRST):
            parts = b""
        parts += content[position : position + size]
        position += size
        if kind in (_WHOLE, _LAST) and position <= len(content):
            yield parts
