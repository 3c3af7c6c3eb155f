"""spec/seal.md: age files."""

import gc
import io
import os
from collections.abc import Callable
from functools import partial
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ddtp import seal
from ddtp.errors import DDTPError, LockedError, MalformedError
from tests.rules import broken_rule
from tests.vectors import of_chapter

IDENTITY = seal.identity_of(bytes(range(32)))
RECIPIENT = seal.recipient_of(IDENTITY)
OTHER = seal.identity_of(bytes(32))
SEALED = seal.seal(b"contents", [RECIPIENT])
BIG = bytes(200_000)


def refused_by(action: Callable[[], object]) -> str:
    with pytest.raises(DDTPError) as caught:
        action()
    return caught.value.rule


@of_chapter("seal")
def test_vector(case: dict[str, str]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(data: str, identity: str = "", passphrase: str = "", **_: str) -> None:
    """Open what a vector of the chapter holds, by an identity or a passphrase."""
    if passphrase:
        seal.unseal_with_passphrase(bytes.fromhex(data), passphrase)
    else:
        seal.unseal(bytes.fromhex(data), identity)


def test_an_identity_is_written_as_age_writes_it() -> None:
    # Computed by the reference implementation of BIP 173 and by rage.
    assert IDENTITY == "AGE-SECRET-KEY-1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSNZS23V9CCRYDPK8QARC0SWRYDWG"
    assert RECIPIENT == "age13aqvttdk3ujkyjh9kg2w5an6dmy5mq5a84a4uxk3hfhnugfc9p0sy5p2wh"


@given(st.binary(min_size=32, max_size=32))
def test_any_secret_gives_an_identity(secret: bytes) -> None:
    seal.check_recipient(seal.recipient_of(seal.identity_of(secret)))


def test_a_new_identity_is_a_new_one() -> None:
    assert seal.new_identity() != seal.new_identity()


@settings(max_examples=20)
@given(st.binary(max_size=300))
def test_unseal_inverts_seal(data: bytes) -> None:
    assert seal.unseal(seal.seal(data, [RECIPIENT]), IDENTITY) == data


def test_every_recipient_opens() -> None:
    sealed = seal.seal(b"contents", [RECIPIENT, seal.recipient_of(OTHER)])
    assert seal.unseal(sealed, IDENTITY) == seal.unseal(sealed, OTHER) == b"contents"


ARMORED = b"-----BEGIN AGE ENCRYPTED FILE-----\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"%PDF",
        SEALED[:-1],
        SEALED[:60],
        SEALED[:22],
        SEALED + b"x",
        SEALED[:-1] + b"\x00\x00",
        ARMORED,
        b"age-encryption.org/v2" + SEALED[21:],
    ],
    ids=map(str, range(9)),
)
def test_seal_1_refuses_what_is_no_age_file_or_damaged(data: bytes) -> None:
    assert refused_by(lambda: seal.unseal(data, IDENTITY)) == "seal.1"
    assert refused_by(lambda: open_stream(data, IDENTITY)) == "seal.1"


@settings(max_examples=50)
@given(st.binary(max_size=80))
def test_any_bytes_give_contents_or_a_malformed_error(data: bytes) -> None:
    assert refused_by(lambda: seal.unseal(data, IDENTITY)) == "seal.1"
    assert refused_by(lambda: seal.unseal(seal.START + data, IDENTITY)) == "seal.1"
    assert refused_by(lambda: seal.unseal_with_passphrase(seal.START + data, "x")) == "seal.1"


def test_seal_2_refuses_what_is_sealed_to_somebody_else() -> None:
    assert refused_by(lambda: seal.unseal(SEALED, OTHER)) == "seal.2"
    assert refused_by(lambda: open_stream(SEALED, OTHER)) == "seal.2"
    assert refused_by(lambda: seal.unseal_with_passphrase(SEALED, "x")) == "seal.2"


def test_seal_3_refuses_a_wrong_passphrase() -> None:
    sealed = seal.seal_with_passphrase(b"contents", "correct horse")
    assert seal.unseal_with_passphrase(sealed, "correct horse") == b"contents"
    with pytest.raises(LockedError) as caught:
        seal.unseal_with_passphrase(sealed, "wrong horse")
    assert caught.value.rule == "seal.3"


@pytest.mark.parametrize(
    "text", ["", "age1", RECIPIENT[:-1], RECIPIENT[:-1] + "q", IDENTITY, "ssh-ed25519 AAAA", "ä"]
)
def test_seal_4_refuses_what_is_no_recipient(text: str) -> None:
    assert refused_by(lambda: seal.check_recipient(text)) == "seal.4"
    assert refused_by(lambda: seal.seal(b"", [text])) == "seal.4"


@pytest.mark.parametrize("text", ["", IDENTITY[:-1], RECIPIENT, "AGE-SECRET-KEY-1"])
def test_seal_4_refuses_what_is_no_identity(text: str) -> None:
    assert refused_by(lambda: seal.recipient_of(text)) == "seal.4"
    assert refused_by(lambda: seal.unseal(SEALED, text)) == "seal.4"


@given(st.text(max_size=80))
def test_any_text_gives_a_recipient_or_a_malformed_error(text: str) -> None:
    with pytest.raises(MalformedError):
        seal.check_recipient(text)


def test_sealing_to_nobody_is_our_own_mistake() -> None:
    with pytest.raises(ValueError, match="recipient"):
        seal.seal(b"", [])


@pytest.mark.parametrize("length", [0, 31, 33])
def test_an_identity_has_32_bytes(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        seal.identity_of(bytes(length))


def open_stream(data: bytes, identity: str) -> bytes:
    target = io.BytesIO()
    seal.unseal_stream(io.BytesIO(data), target, identity)
    return target.getvalue()


@pytest.mark.parametrize("data", [b"", b"contents", BIG])
def test_streams_carry_everything(data: bytes) -> None:
    target = io.BytesIO()
    seal.seal_stream(io.BytesIO(data), target, [RECIPIENT])
    assert open_stream(target.getvalue(), IDENTITY) == data
    assert seal.unseal(target.getvalue(), IDENTITY) == data


def test_a_stream_that_is_cut_off_gives_its_beginning() -> None:
    data, target = os.urandom(3 * seal.PIECE), io.BytesIO()
    sealed = seal.seal(data, [RECIPIENT])[: 2 * seal.PIECE]
    assert refused_by(lambda: seal.unseal_stream(io.BytesIO(sealed), target, IDENTITY)) == "seal.1"
    assert data.startswith(target.getvalue())
    assert len(target.getvalue()) > seal.PIECE


class Counted(io.BytesIO):
    """A stream that counts how often it is read and written."""

    calls = 0

    def read(self, size: int | None = -1) -> bytes:
        self.calls += 1
        return super().read(size)

    def write(self, data: Any) -> int:
        self.calls += 1
        return super().write(data)


def test_streams_are_read_and_written_in_large_pieces() -> None:
    source, target = Counted(bytes(8 * seal.PIECE)), Counted()
    seal.seal_stream(source, target, [RECIPIENT])
    assert max(source.calls, target.calls) <= 12


class Refusing(io.BytesIO):
    """A stream that takes nothing."""

    calls = 0

    def write(self, data: Any) -> int:
        self.calls += 1
        raise ValueError("it takes nothing")


def test_nothing_more_is_written_once_sealing_has_failed() -> None:
    target = Refusing()
    with pytest.raises(Exception, match="it takes nothing"):
        seal.seal_stream(io.BytesIO(bytes(300_000)), target, [RECIPIENT])
    gc.collect()
    assert target.calls == 1


def test_seal_1_notices_a_stream_cut_off_between_its_chunks() -> None:
    sealed = seal.seal(BIG, [RECIPIENT])
    header = len(seal.seal(b"", [RECIPIENT]))
    whole = next(n for n in (header - 200, header - 150, header) if n > 0)
    for length in range(len(sealed) - 65_553, whole, -65_552):
        assert refused_by(partial(open_stream, sealed[:length], IDENTITY)) == "seal.1"


class Broken(io.BytesIO):
    """A stream on a disk that fails."""

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() >= 70_000:
            raise OSError(5, "Input/output error")
        return super().read(size)

    def write(self, data: object, /) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("source", "target", "number"),
    [(io.BytesIO(BIG), Broken(), 28), (Broken(BIG), io.BytesIO(), 5)],
)
def test_a_failing_disk_is_not_a_damaged_file(
    source: BinaryIO, target: BinaryIO, number: int
) -> None:
    with pytest.raises(OSError, match=r"\w") as caught:
        seal.seal_stream(source, target, [RECIPIENT])
    assert caught.value.errno == number


def test_a_failing_disk_is_not_a_damaged_file_when_opening() -> None:
    sealed = seal.seal(BIG, [RECIPIENT])
    with pytest.raises(OSError, match="space"):
        seal.unseal_stream(io.BytesIO(sealed), Broken(), IDENTITY)
    with pytest.raises(OSError, match="Input"):
        seal.unseal_stream(Broken(sealed), io.BytesIO(), IDENTITY)
