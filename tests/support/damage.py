"""Damage as disks, editors, broken downloads and curious users do to files."""

import random
import re
from collections.abc import Callable

_WORDS = (
    *(b"null", b"[]", b"{}", b"-1", b"0", b"1e999", b"NaN", b'""', b"true", b"../../x"),
    *(b"\xff\xfe", b"\x00", b"*a", b"&a", b"!!python/name:os.system", b"9" * 400, b"[" * 200),
)


def damage(content: bytes, random: random.Random) -> bytes:
    """A copy of the content of a file that differs from it in one to three places."""
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        content = random.choice(_KINDS)(content, random)
    return content


def _cut(content: bytes, random: random.Random) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def _flip(content: bytes, random: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(min(len(content), random.choice((1, 1, 8, 64)))):
        changed[random.randrange(len(content))] = random.randrange(256)
    return bytes(changed)


def _zero(content: bytes, random: random.Random) -> bytes:
    start, end = _span(content, random)
    return content[:start] + bytes(end - start) + content[end:]


def _remove(content: bytes, random: random.Random) -> bytes:
    start, end = _span(content, random)
    return content[:start] + content[end:]


def _repeat(content: bytes, random: random.Random) -> bytes:
    start, end = _span(content, random)
    return content[:end] + content[start:]


def _insert(content: bytes, random: random.Random) -> bytes:
    at = random.randrange(len(content) + 1)
    return content[:at] + random.randbytes(random.choice((1, 4, 100))) + content[at:]


def _replace_word(content: bytes, random: random.Random) -> bytes:
    words = list(re.finditer(rb"[\w.+-]+", content[:100_000]))
    if not words:
        return content
    word = random.choice(words)
    return content[: word.start()] + random.choice(_WORDS) + content[word.end() :]


def _append(content: bytes, random: random.Random) -> bytes:
    return content + random.choice((b"\n", b"\x00" * 10, content[:50], b"x: [", b"}"))


def _span(content: bytes, random: random.Random) -> tuple[int, int]:
    start = random.randrange(len(content) + 1)
    return start, min(len(content), start + random.choice((1, 8, 512, 10_000)))


_KINDS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_cut, _flip, _zero, _remove, _repeat, _insert),
    *(_replace_word, _replace_word, _append),
)
