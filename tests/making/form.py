"""The form of a vector: a JSON object, its name first, what is expected of it last.

Bytes are hex; key ids, fingerprints and times are as the chapter writes them. `expect` is "ok" or
the rule that refuses, and is always told by the program, never asked of the code under test.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

Vector = dict[str, object]

FOLDER = Path(__file__).parents[2] / "spec" / "vectors"


def vector(name: str, expect: object, **fields: object) -> Vector:
    """Return one vector; fields may hold bytes, tuples and mappings."""
    return {"name": name, **{key: plain(value) for key, value in fields.items()}, "expect": expect}


def plain(value: object) -> object:
    """Return a value as JSON has it: bytes as hex, tuples as arrays."""
    if isinstance(value, bytes):
        return bytes(value).hex()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value


def repeated(byte: int, times: int) -> Vector:
    """Return, in the place of hex, one byte so many times."""
    return {"repeat": f"{byte:02x}", "times": times}


def rows(vectors: Iterable[Vector]) -> str:
    """Return the array of a file, one vector a line."""
    lines = [f"  {json.dumps(each, ensure_ascii=False)}" for each in vectors]
    return "[\n" + ",\n".join(lines) + "\n]\n"
