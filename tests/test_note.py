"""spec/note.md: signed notes, checkpoints, cosignatures."""

import base64
from functools import partial
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from ddtp import note
from ddtp.errors import MalformedError, SignatureError
from ddtp.keys import KeyID, SigningKey
from ddtp.note import Checkpoint, Note, NoteSignature
from tests.rules import broken_rule, malformed_rule
from tests.vectors import of_chapter

LOG = SigningKey(bytes(32))
WITNESS = SigningKey(bytes(31) + b"\x01")
OTHER = SigningKey(bytes(31) + b"\x02")
ORIGIN = "log.example/2026"
HEAD = Checkpoint(origin=ORIGIN, size=5, root=bytes(range(32)))
SIGNED = note.sign_checkpoint(HEAD, LOG)
TEXT, LINE = SIGNED.decode().split("\n\n")
TIME = 1_760_000_000
COSIGNED = note.cosign(SIGNED, "witness.example", WITNESS, TIME)
WITNESSES = {"witness.example": WITNESS.key_id}

sizes = st.integers(0, 2**63 - 1)
roots = st.binary(min_size=32, max_size=32)
names = st.text(st.characters(categories=["L", "N", "P"], exclude_characters="+"), min_size=1)


@of_chapter("note")
def test_vector(case: dict[str, Any]) -> None:
    assert broken_rule(partial(run_vector, **case)) == case["expect"]


def run_vector(origin: str, key: str, **case: Any) -> None:
    """Open the checkpoint that a vector of the chapter holds, or ask for a `witness` of it."""
    data = case["note"].encode()
    if "witness" in case:
        by = KeyID.parse(case["witness_key"])
        assert note.check_cosignature(data, case["witness"], by) == case["cosigned_at"]
    else:
        note.open_checkpoint(data, origin, KeyID.parse(key))


@given(names, sizes, roots)
def test_open_inverts_sign(name: str, size: int, root: bytes) -> None:
    head = Checkpoint(origin=name, size=size, root=root)
    assert note.open_checkpoint(note.sign_checkpoint(head, LOG), name, LOG.key_id) == head


def test_parse_inverts_encode() -> None:
    parsed = note.parse(COSIGNED)
    assert parsed.encode() == COSIGNED
    assert [line.name for line in parsed.signatures] == [ORIGIN, "witness.example"]
    assert parsed.text == HEAD.encode()


def test_the_first_blank_line_need_not_be_the_last() -> None:
    line = NoteSignature(name="a", key_hash=bytes(4), signature=bytes(64))
    whole = Note(text="one\n\ntwo\n\n", signatures=(line,))
    assert note.parse(whole.encode()) == whole


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        SIGNED[:-1],
        SIGNED + b"\n",
        TEXT.encode(),
        f"{TEXT}\n{LINE}".encode(),
        f"{TEXT}\n\n".encode(),
        f"\n\n{LINE}".encode(),
        f"{TEXT}\n\n{LINE[2:]}".encode(),
        f"{TEXT}\n\n{LINE.replace('— ', '- ')}".encode(),
        f"{TEXT}\n\n— {ORIGIN}\n".encode(),
        f"{TEXT}\n\n— {ORIGIN} AAAA\n".encode(),
        f"{TEXT}\n\n— {ORIGIN} AAAAAA==\n".encode(),
        f"{TEXT}\n\n—  AAAAAAAA\n".encode(),
        f"{TEXT}\n\n— a+b AAAAAAAA\n".encode(),
        f"{TEXT}\r\n\n{LINE}".encode(),
        SIGNED.replace(b"log", b"l\x00g"),
        SIGNED.replace(b"log", b"l\xffg"),
        SIGNED + LINE.encode() * 64,
        SIGNED.replace(b"5\n", b"5\n" + b"x" * 65_536 + b"\n"),
    ],
)
def test_note_1_refuses_what_is_no_note(data: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        note.parse(data)
    assert caught.value.rule == "note.1"


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a\n5\n",
        f"a\n5\n{ROOT}",
        f"a\n5\n{ROOT}\nmore\n",
        f"a\n05\n{ROOT}\n",
        f"a\n+5\n{ROOT}\n",
        f"a\n-5\n{ROOT}\n",
        f"a\n 5\n{ROOT}\n",
        f"a\n\n{ROOT}\n",
        f"a\n5_0\n{ROOT}\n",
        f"a\n٥\n{ROOT}\n",
        f"a\n{2**63}\n{ROOT}\n",
        f"a\n{'9' * 5000}\n{ROOT}\n",
        f"\n5\n{ROOT}\n",
        f"a b\n5\n{ROOT}\n",
        f"a+b\n5\n{ROOT}\n",
        "a\n5\nAAAA\n",
        "a\n5\n\n",
        f"a\n5\n{base64.b64encode(bytes(33)).decode()}\n",
    ],
)
def test_note_1_refuses_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Checkpoint.decode(text)
    assert caught.value.rule == "note.1"


@pytest.mark.parametrize(
    "root",
    [ROOT[:-2] + "B=", ROOT[:-1], ROOT + "=", ROOT[:-1] + "\t=", "_" + ROOT[1:], "ä" + ROOT[1:]],
)
def test_note_4_refuses_base64_in_another_form(root: str) -> None:
    with pytest.raises(MalformedError) as caught:
        Checkpoint.decode(f"a\n5\n{root}\n")
    assert caught.value.rule == "note.4"


def test_note_4_refuses_a_signature_in_another_form() -> None:
    with pytest.raises(MalformedError) as caught:
        note.parse(f"{TEXT}\n\n— a AAAAAAB=\n".encode())
    assert caught.value.rule == "note.4"


@pytest.mark.parametrize(
    "data",
    [
        note.sign_checkpoint(HEAD, OTHER),
        SIGNED.replace(b"\n5\n", b"\n6\n"),
        SIGNED.replace(LINE.encode(), LINE.replace(ORIGIN, "log.example/2027").encode()),
        note.cosign(note.sign_checkpoint(HEAD, OTHER), ORIGIN, LOG, TIME),
        replace(
            note.parse(SIGNED),
            signatures=(replace(note.parse(SIGNED).signatures[0], signature=bytes(63)),),
        ).encode(),
    ],
    ids=["another key", "another text", "another name", "only a cosignature", "a short signature"],
)
def test_note_2_refuses_what_the_log_did_not_sign(data: bytes) -> None:
    with pytest.raises(SignatureError) as caught:
        note.open_checkpoint(data, ORIGIN, LOG.key_id)
    assert caught.value.rule == "note.2"


def test_note_3_refuses_the_head_of_another_log() -> None:
    other = note.sign_checkpoint(replace(HEAD, origin="log.example/2027"), LOG)
    with pytest.raises(SignatureError) as caught:
        note.open_checkpoint(other, ORIGIN, LOG.key_id)
    assert caught.value.rule == "note.3"


def test_lines_of_unknown_keys_are_ignored() -> None:
    line = NoteSignature(name="stranger", key_hash=b"abcd", signature=b"?")
    parsed = note.parse(SIGNED)
    data = replace(parsed, signatures=(line, *parsed.signatures)).encode()
    assert note.open_checkpoint(data, ORIGIN, LOG.key_id) == HEAD


def test_a_cosignature_says_when() -> None:
    assert note.cosignatures(COSIGNED, WITNESSES) == {"witness.example": TIME}
    assert note.check_cosignature(COSIGNED, "witness.example", WITNESS.key_id) == TIME
    assert note.open_checkpoint(COSIGNED, ORIGIN, LOG.key_id) == HEAD


def test_the_latest_cosignature_of_a_witness_counts() -> None:
    again = note.cosign(COSIGNED, "witness.example", WITNESS, TIME - 5)
    assert note.cosignatures(again, WITNESSES) == {"witness.example": TIME}


@pytest.mark.parametrize(
    "data",
    [
        SIGNED,
        note.cosign(SIGNED, "witness.example", OTHER, TIME),
        note.cosign(SIGNED, "another.example", WITNESS, TIME),
        COSIGNED.replace(b"\n5\n", b"\n6\n"),
    ],
)
def test_note_5_refuses_where_the_witness_did_not_cosign(data: bytes) -> None:
    assert note.cosignatures(data, WITNESSES) == {}
    with pytest.raises(SignatureError) as caught:
        note.check_cosignature(data, "witness.example", WITNESS.key_id)
    assert caught.value.rule == "note.5"


@pytest.mark.parametrize("time", [TIME + 1, 0, 2**63, 2**64 - 1])
def test_note_5_refuses_a_cosignature_with_its_time_changed(time: int) -> None:
    parsed = note.parse(COSIGNED)
    line = parsed.signatures[1]
    changed = replace(line, signature=time.to_bytes(8) + line.signature[8:])
    data = replace(parsed, signatures=(parsed.signatures[0], changed)).encode()
    assert note.cosignatures(data, WITNESSES) == {}


def test_note_5_refuses_a_time_beyond_63_bits() -> None:
    signature = WITNESS.sign(f"cosignature/v1\ntime {2**63}\n{HEAD.encode()}".encode())
    line = NoteSignature(
        name="witness.example",
        key_hash=note.witness_key_hash("witness.example", WITNESS.key_id),
        signature=(2**63).to_bytes(8) + signature,
    )
    parsed = note.parse(SIGNED)
    data = replace(parsed, signatures=(*parsed.signatures, line)).encode()
    assert note.cosignatures(data, WITNESSES) == {}


def test_a_log_signature_is_no_cosignature() -> None:
    assert note.cosignatures(SIGNED, {ORIGIN: LOG.key_id}) == {}


@pytest.mark.parametrize("key_hash", [b"", b"abc", b"abcde"])
def test_a_key_hash_has_4_bytes(key_hash: bytes) -> None:
    with pytest.raises(ValueError, match="4 bytes"):
        NoteSignature(name="a", key_hash=key_hash, signature=bytes(64))


@pytest.mark.parametrize("time", [-1, 2**63])
def test_a_witness_signs_no_impossible_time(time: int) -> None:
    with pytest.raises(ValueError, match="2\\*\\*63"):
        note.cosign(SIGNED, "witness.example", WITNESS, time)


@given(st.binary(max_size=200))
@example(LINE.encode())
def test_any_bytes_give_a_note_or_a_malformed_error(data: bytes) -> None:
    assert_note_or_malformed(data)
    assert_note_or_malformed(data + b"\n\n" + LINE.encode())
    assert_note_or_malformed(TEXT.encode() + b"\n\n" + data)


def assert_note_or_malformed(data: bytes) -> None:
    found: list[Note] = []
    rule = malformed_rule(lambda: found.append(note.parse(data)))
    assert rule in ("note.1", "note.4") if not found else found[0].encode() == data


@given(st.text(max_size=100))
def test_any_text_gives_a_checkpoint_or_a_malformed_error(text: str) -> None:
    assert malformed_rule(lambda: Checkpoint.decode(text)) in ("note.1", "note.4")
