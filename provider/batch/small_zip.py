"""A plain zip that is made at once: what a batch writes thousands of a minute.

Python's own zipfile takes a tenth of a millisecond for two files, more than all that is in them.
Whoever reads one cannot tell: nothing is compressed, names are in UTF-8, dates are 1 January 1980.

Source: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

import struct
import zlib
from collections.abc import Iterable
from typing import Final

_FILE: Final = b"PK\x03\x04"
_LISTED: Final = b"PK\x01\x02"
_END: Final = b"PK\x05\x06"
_VERSION: Final = 20
_MADE_BY: Final = (3 << 8) | _VERSION  # Unix, so that the mode below counts
_MODE: Final = 0o100600 << 16
_UTF_8: Final = 1 << 11
_FIRST_DAY: Final = (1 << 5) | 1
# Version, flags, method 0, time, day, CRC-32, length twice, those of name and extra field.
_COMMON: Final = struct.Struct("<HHHHHIIIHH")
_PLACE: Final = struct.Struct("<HHHII")  # comment, disk, attributes twice, where the file is
_COUNTS: Final = struct.Struct("<HHHHIIH")


def encode(files: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a zip of these files, by their names; all together less than 4 GiB."""
    held, listed, place = [], [], 0
    for name, data in files:
        named, size = name.encode(), len(data)
        check = zlib.crc32(data)
        common = _COMMON.pack(_VERSION, _UTF_8, 0, 0, _FIRST_DAY, check, size, size, len(named), 0)
        head = _FILE + common + named
        held += [head, data]
        listed.append(
            _LISTED + _MADE_BY.to_bytes(2, "little") + common + _PLACE.pack(0, 0, 0, _MODE, place)
        )
        listed.append(named)
        place += len(head) + size
    contents, count = b"".join(listed), len(listed) // 2
    end = _END + _COUNTS.pack(0, 0, count, count, len(contents), place, 0)
    return b"".join((*held, contents, end))
