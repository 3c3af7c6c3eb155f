"""Text from strangers, made harmless before it meets a terminal.

A record may hold characters that move the cursor, recolour a line or turn its
reading order round, and so make a person read what is not there. They are
shown by their number instead.
"""

import json
import unicodedata
from collections.abc import Mapping

# Controls, formats (bidi marks, zero width), surrogates, private use, unassigned, line ends.
_UNSEEN = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))


def safe(text: str) -> str:
    """Return one line that shows every character and obeys none."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        f"\\u{{{ord(char):x}}}" if unicodedata.category(char) in _UNSEEN else char for char in text
    )


def document(value: Mapping[str, object], *, indent: int | None = None) -> str:
    """Return a JSON document whose strings hold no unseen character in the clear."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    if text.isascii() and "\x7f" not in text:
        return text  # what else is unseen in ASCII is escaped by JSON itself
    return "".join(_escaped(char) if char != "\n" else char for char in text)


def _escaped(char: str) -> str:
    if unicodedata.category(char) not in _UNSEEN:
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
