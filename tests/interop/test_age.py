"""age by others: the age-encryption package (JavaScript) and the stock `age` tool (Go).

Both open our files, and we open theirs.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from ddtp import seal
from tests.interop.node import needs_node, run

IDENTITY = seal.identity_of(bytes(range(32)))
RECIPIENT = seal.recipient_of(IDENTITY)
CONTENTS = bytes(range(256)) * 300  # more than one chunk of 64 KiB


@needs_node
def test_it_opens_what_we_seal_to_a_recipient() -> None:
    task = {"identity": IDENTITY, "data": seal.seal(CONTENTS, [RECIPIENT]).hex()}
    assert run("age.mjs", task) == {"data": CONTENTS.hex()}


@needs_node
def test_it_opens_what_we_seal_with_a_passphrase() -> None:
    sealed = seal.seal_with_passphrase(CONTENTS, "correct horse battery staple")
    task = {"passphrase": "correct horse battery staple", "data": sealed.hex()}
    assert run("age.mjs", task) == {"data": CONTENTS.hex()}


@needs_node
def test_it_refuses_what_is_sealed_to_somebody_else() -> None:
    other = seal.recipient_of(seal.identity_of(bytes(32)))
    task = {"identity": IDENTITY, "data": seal.seal(CONTENTS, [other]).hex()}
    assert "no identity matched" in run("age.mjs", task)["refused"]


@needs_node
def test_it_refuses_what_was_tampered_with() -> None:
    sealed = seal.seal(CONTENTS, [RECIPIENT])
    tampered = sealed[:-1] + bytes([sealed[-1] ^ 1])
    assert "refused" in run("age.mjs", {"identity": IDENTITY, "data": tampered.hex()})


@needs_node
def test_we_open_what_it_seals() -> None:
    answer = run("age.mjs", {"recipient": RECIPIENT, "data": CONTENTS.hex()})
    assert seal.unseal(bytes.fromhex(answer["data"]), IDENTITY) == CONTENTS


needs_age = pytest.mark.skipif(
    shutil.which("age") is None, reason="needs the age tool (for instance `apt install age`)"
)


def age(*options: str, data: bytes) -> bytes:
    return subprocess.run(
        ["age", *options], input=data, capture_output=True, timeout=60, check=True
    ).stdout


@needs_age
def test_the_stock_tool_opens_what_we_seal(tmp_path: Path) -> None:
    identity = tmp_path / "identity"
    identity.write_text(IDENTITY + "\n")
    sealed = seal.seal(CONTENTS, [RECIPIENT])
    assert age("--decrypt", "--identity", str(identity), data=sealed) == CONTENTS


@needs_age
def test_the_stock_tool_refuses_what_is_sealed_to_somebody_else(tmp_path: Path) -> None:
    identity = tmp_path / "identity"
    identity.write_text(seal.identity_of(bytes(32)) + "\n")
    with pytest.raises(subprocess.CalledProcessError):
        age("--decrypt", "--identity", str(identity), data=seal.seal(CONTENTS, [RECIPIENT]))


@needs_age
def test_we_open_what_the_stock_tool_seals() -> None:
    assert seal.unseal(age("--recipient", RECIPIENT, data=CONTENTS), IDENTITY) == CONTENTS
