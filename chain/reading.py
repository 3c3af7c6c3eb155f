"""Reading a log's entries from its tiles, as anybody may (C2SP tlog-tiles)."""

from chain.registry import Registry
from chain.tree import WIDTH
from ddtp.errors import Unanswered


async def leaves(registry: Registry, first: int, size: int) -> list[bytes]:
    """Return the leaves from `first` on in a tree of `size` entries.

    Raises:
        Unanswered: log.2, a tile is not what it should be.
    """
    found: list[bytes] = []
    for number in range(first // WIDTH, -(-size // WIDTH)):
        width = min(WIDTH, size - number * WIDTH)
        path = tile_path("entries", number, width)
        found += split(await registry.tile(path), width)
    return found[first % WIDTH :]


def tile_path(level: str, number: int, width: int) -> str:
    """Return the path of a tile: its number in groups of three digits."""
    digits = f"{number % 1000:03}"
    while number >= 1000:
        number //= 1000
        digits = f"x{number % 1000:03}/{digits}"
    return f"{level}/{digits}" + ("" if width == WIDTH else f".p/{width}")


def split(bundle: bytes, count: int) -> list[bytes]:
    """Return the entries of a tile, each behind its length in two bytes.

    Raises:
        Unanswered: log.2, there are not so many.
    """
    found = []
    position = 0
    while position < len(bundle):
        end = position + 2 + int.from_bytes(bundle[position : position + 2])
        found.append(bundle[position + 2 : end])
        position = end
    if len(found) != count or position != len(bundle):
        raise Unanswered("log.2", "a tile of entries is not what it should be")
    return found
