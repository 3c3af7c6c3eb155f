"""One byte changed, each in turn, of what people hold in their hands (spec/file.md).

As `ddtp verify` sees it, offline. What may change without a word is named here and nowhere else:
the line of a witness beyond the quorum, which counts as absent. The evidence file, where not even
that may change, has tests/test_evidence_file.py; a presentation as its receiver decides on it,
tests/test_presentation.py.

One place in so many is tried; DDTP_FLIPS=1 tries them all.
"""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chain.check import check
from chain.pinned import pin
from chain.view import View
from ddtp import seal
from ddtp.errors import Outcome
from ddtp.network import Network, encode_file
from ddtp.policy import Policy
from ddtp.record import Record
from tests import builders
from tests.builders import FILE_BYTES, REQUEST, REQUEST_IDENTITY, signed
from tests.cases import flipped

STRIDE = int(os.environ.get("DDTP_FLIPS", "17"))
MASKS = (0x01, 0x20, 0x80)  # in turn: the least bit, that of another case, that of another kind
RECORD = Record(
    type="file/1",
    claims={("title",): "Deed of the house", ("holder", "name"): "Ana Maria Ferreira"},
    tables={},
    documents=(builders.FILE,),
)
WHOLE = builders.transfer(record=RECORD, rows=0)
WITNESSED = builders.transfer(record=RECORD, rows=0, witnessed=True)


def package_of(transfer: builders.Transfer) -> bytes:
    """Return the package file as a holder has it, its document listed."""
    documents = tuple(index for index, _ in transfer.shown.documents)
    return replace(transfer.package, documents=documents).encode()


def witness_lines(data: bytes) -> set[int]:
    """Return the places of the lines of witnesses, behind each line's first and last byte."""
    places: set[int] = set()
    for witness in builders.WITNESSES:
        start = data.find(name := witness.name.encode())
        while start >= 0:
            places |= set(range(start, data.index(b"\n", start)))
            start = data.find(name, start + 1)
    return places


@pytest.fixture
def view(tmp_path: Path) -> Iterator[View]:
    """Return what `ddtp verify --offline` asks: nobody."""
    yield from viewed(tmp_path / "view", WHOLE.network)


@pytest.fixture
def witnessed_view(tmp_path: Path) -> Iterator[View]:
    """Return the same, pinned to a network with witnesses."""
    yield from viewed(tmp_path / "view", WITNESSED.network)


def viewed(folder: Path, network: Network) -> Iterator[View]:
    def nobody(_: Network, origin: str) -> Any:
        raise AssertionError(f"{origin} was asked")

    folder.mkdir()
    pin(folder, encode_file([signed(network)]), "")
    opened = View(folder, reach=nobody, clock=lambda: builders.NOW, offline=True)
    yield opened
    opened.close()


async def unseen(
    view: View, path: Path, data: bytes, *identities: str, stride: int = STRIDE
) -> list[int]:
    """Return the places where a change was not noticed; the file as it is is verified."""

    async def verified(content: bytes) -> bool:
        path.write_bytes(content)  # noqa: ASYNC240 - nothing else runs
        found = await check(view, path, None, Policy(bases=frozenset({1, 2, 3})), identities)
        return found.outcome is Outcome.VERIFIED

    assert await verified(data)
    masks = itertools.cycle(MASKS)
    return [
        place
        for place in range(0, len(data), stride)
        if await verified(flipped(data, place, next(masks)))
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder in which the document of the package lies."""
    made = tmp_path / "given"
    made.mkdir()
    (made / "statement.pdf").write_bytes(FILE_BYTES)
    return made


async def test_no_changed_byte_of_a_package_is_verified(view: View, folder: Path) -> None:
    assert await unseen(view, folder / "a.ddtp", package_of(WHOLE)) == []


async def test_only_a_witness_beyond_the_quorum_may_be_missing_from_a_package(
    witnessed_view: View, folder: Path
) -> None:
    data = package_of(WITNESSED)
    places = await unseen(witnessed_view, folder / "a.ddtp", data)
    assert set(places) <= witness_lines(data)


@pytest.fixture
def without_document() -> bytes:
    """Return an opened presentation of claims alone."""
    record = replace(RECORD, documents=())
    return builders.transfer(record=record, rows=0).presentation.encode()


async def test_no_changed_byte_of_an_opened_presentation_is_verified(
    view: View, folder: Path, without_document: bytes
) -> None:
    assert await unseen(view, folder / "a.ddtpres", without_document) == []


async def test_no_changed_byte_of_a_sealed_presentation_is_verified(
    view: View, folder: Path, without_document: bytes
) -> None:
    sealed = seal.seal(without_document, [REQUEST.recipient])
    assert await unseen(view, folder / "a.ddtpres", sealed, REQUEST_IDENTITY) == []
