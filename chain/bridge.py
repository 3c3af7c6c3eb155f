"""An entry's proof in the forms that other people's programs read (spec/registry.md, "Bridges").

Both say that the entry stands in the log, and nothing of its standing: whether it is revoked is
in our own evidence. Nothing of ours reads them back.
"""

import base64
from typing import Final

from ddtp import encoding
from ddtp.encoding import Encodable
from ddtp.evidence import Registration
from ddtp.keys import Signer
from ddtp.note import Checkpoint

TLOG_PROOF: Final = "c2sp.org/tlog-proof@v1"
_ALG, _KID, _CLAIMS, _STRUCTURE, _PROOFS = 1, 4, 15, 395, 396
_EDDSA: Final = -8
_RFC9162_SHA256: Final = 1
_INCLUSION: Final = encoding.encode(-1)
_ISS, _SUB = 1, 2
_SIGN1: Final = b"\xd2"  # tag 18


def tlog_proof(shown: Registration) -> bytes:
    """Return a registration as a tlog-proof, the entry itself as its extra data.

    Source: C2SP tlog-proof.
    """
    lines = [
        TLOG_PROOF,
        f"extra {_base64(shown.entry)}",
        f"index {shown.index}",
        *map(_base64, shown.path),
        "",
    ]
    return "\n".join(lines).encode() + b"\n" + shown.checkpoint


def cose_receipt(shown: Registration, head: Checkpoint, signer: Signer) -> bytes:
    """Return a registration as a COSE receipt, which only the log itself can sign.

    The payload is detached: whoever checks it computes the root from the entry and the path.

    Args:
        shown: Proven under the head.
        head: Of the log's own checkpoint.
        signer: The log's key.

    Source: RFC 9942 sections 4 and 5.2.
    """
    claims: Encodable = {_ISS: head.origin, _SUB: f"{head.origin}#{shown.index}"}
    protected = encoding.encode(
        {_ALG: _EDDSA, _KID: bytes(signer.key_id), _CLAIMS: claims, _STRUCTURE: _RFC9162_SHA256}
    )
    proof = encoding.encode([head.size, shown.index, list(shown.path)])
    signed = encoding.encode(["Signature1", protected, b"", head.root])
    # A map with a negative label, which no message of ours has.
    proofs = encoding.head(5, 1) + _INCLUSION + encoding.encode([proof])
    unprotected = encoding.head(5, 1) + encoding.encode(_PROOFS) + proofs
    signature = encoding.encode(signer.sign(signed))
    return _SIGN1 + encoding.array_of(
        [encoding.encode(protected), unprotected, encoding.encode(None), signature]
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
