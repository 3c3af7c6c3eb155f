"""age by others: the age-encryption package (JavaScript) opens our files, and we open theirs."""

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
