"""Text from elsewhere: which characters the bytes of a file are (rule source.10).

Nothing is guessed by likelihood. A byte order mark counts, then strict UTF-8, then the one charset
in which the reader finds what it looks for (for a table: the names of its columns); if several fit
or none, the charset has to be told.
"""

import codecs
import re
from collections.abc import Callable
from typing import Final

from ddtp.encoding import kind_of
from ddtp.errors import MalformedError

# What files from banks are in, beside UTF-8: mainland China, Hong Kong and Macao, western Europe.
CANDIDATES: Final = ("gb18030", "big5hkscs", "cp1252")
# Every byte is something in Windows-1252; western words have only these of it beyond ASCII.
_NOT_WESTERN: Final = re.compile("[^\0-\x7fÀ-ÖØ-öø-ÿŠšŽžŒœŸ€£ºª«»´‘’“”–—…·°]")
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode(
    data: bytes, where: str, charset: str = "", fits: Callable[[str], bool] | None = None
) -> str:
    """Return the text of a file, without a byte order mark.

    Args:
        data: The whole file.
        where: Its name.
        charset: What it is said to be in where it is not UTF-8, empty when it should be found.
        fits: Whether the reader finds in a text what it looks for.

    Raises:
        MalformedError: source.10, it is not text, or the charset has to be told.
    """
    text = _decoded(data, where, charset, fits)
    nul = text.find("\0")
    if nul >= 0:
        raise MalformedError(
            "source.10", f"{where}, line {line_at(text, nul)}: a NUL stands in the text"
        )
    return text


def line_at(text: str, place: int) -> int:
    """Return the number of the line, from 1, on which a place of a text is."""
    return text.count("\n", 0, place) + 1


def is_charset(name: str) -> bool:
    """Return whether Python knows a charset by this name."""
    try:
        # What is no charset of texts ("base64", "rot13") has no business here.
        return codecs.lookup(name)._is_text_encoding  # noqa: SLF001 - there is no other way
    except LookupError:
        return False


def _decoded(data: bytes, where: str, charset: str, fits: Callable[[str], bool] | None) -> str:
    for mark, marked in _MARKS:
        if data.startswith(mark):
            return _strict(data.removeprefix(mark), where, marked)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _strict(data, where, charset) if charset else _found(data, where, line, fits)
    # A charset of two bytes a character looks like UTF-8 with NULs.
    return _strict(data, where, charset) if charset and "\0" in text else text


def _strict(data: bytes, where: str, charset: str) -> str:
    try:
        return data.decode(charset)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise MalformedError("source.10", f"{where}, line {line}: this is not {charset}") from error


def _found(data: bytes, where: str, line: int, fits: Callable[[str], bool] | None) -> str:
    """Return the text in the only charset that fits; line is the first that is not UTF-8."""
    if kind_of(data) not in ("text", "something unknown", "XML"):
        raise MalformedError("source.10", f"{where}: this looks like {kind_of(data)}")
    texts = []
    for charset in CANDIDATES if fits is not None else ():
        try:
            text = data.decode(charset)
        except UnicodeDecodeError:
            continue
        is_likely = charset != "cp1252" or not _NOT_WESTERN.search(text)
        if fits is not None and is_likely and fits(text):
            texts.append(text)
    if len(texts) != 1:
        raise MalformedError(
            "source.10", f"{where}, line {line}: this is not UTF-8, and nothing says what it is"
        )
    return texts[0]
