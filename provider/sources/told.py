"""What is told beside a file, in `FILE.toml`, because the file does not say it (rule source.12)."""

import tomllib
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from ddtp.errors import MalformedError
from ddtp.record import Record
from ddtp.record_type import RecordType
from provider.sources.reading import Reading
from provider.sources.record_json import Fields, claims
from provider.sources.text import is_charset

SUFFIX: Final = ".toml"
_MAX_BYTES: Final = 2**20


class Told(Struct, frozen=True, kw_only=True):
    """What is told of one file; empty where nothing is.

    Attributes:
        title: What customers see it called.
        charset: What its characters are in.
        mapping: Name of the mapping to read it by.
        claims: More claims, each of which the file does not contradict; None for none.
    """

    title: str = ""
    charset: str = ""
    mapping: str = ""
    claims: Fields | None = None

    def reading(self, reading: Reading) -> Reading:
        """Return how a file is read, with what is told of it."""
        return replace(
            reading,
            charset=self.charset or reading.charset,
            mapping=self.mapping or reading.mapping,
        )

    def added(self, record: Record, kind: RecordType, name: str) -> Record:
        """Return a record of a kind with the claims that are told.

        Raises:
            MalformedError: source.12, the file itself says something else; source.3, a value is
                none.
        """
        told = dict(claims(kind, self.claims)) if self.claims is not None else {}
        for path, value in told.items():
            if record.claims.get(path, value) != value:
                raise MalformedError(
                    "source.12", f"{name}{SUFFIX}: {'/'.join(path)} is another one in the file"
                )
        return replace(record, claims={**told, **record.claims})


def read(path: Path) -> Told:
    """Return what is told of a file; nothing where there is no such TOML file.

    Raises:
        MalformedError: source.12 it is no TOML or names no charset, source.3 a field is wrong.
        OSError: It cannot be read.
    """
    beside = path.with_name(path.name + SUFFIX)
    if not beside.is_file():
        return Told()
    try:
        with beside.open("rb") as file:
            given = tomllib.loads(file.read(_MAX_BYTES).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MalformedError("source.12", f"{beside.name}: this is not TOML") from error
    fields = Fields(given, beside.name)
    told = Told(
        title=fields.optional("title"),
        charset=fields.optional("charset"),
        mapping=fields.optional("mapping"),
        claims=fields.inner("claims"),
    )
    fields.end()
    if told.charset and not is_charset(told.charset):
        raise MalformedError("source.12", f"{beside.name}: charset is none that is known")
    return told
