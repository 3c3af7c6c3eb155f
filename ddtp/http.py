"""The HTTP binding as values: one table of routes, media types and limits (spec/http.md).

Servers register from it and clients build from it, so that a path stands in one place.
"""

import re
from typing import Final
from urllib.parse import quote

from msgspec import Struct

CBOR: Final = "application/cbor"
COSE: Final = "application/cose"
AGE: Final = "application/age-encryption"
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"
METRICS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
BYTES: Final = "application/octet-stream"
PACKAGE: Final = "application/ddtp-1-package+cbor"
REQUEST: Final = "application/ddtp-1-request+cose"
PRESENTATION: Final = "application/ddtp-1-presentation+age"
EVIDENCE: Final = "application/ddtp-1-evidence+cbor"
NETWORK: Final = "application/ddtp-1-network+cbor"
ANY: Final = "*/*"  # of a call that others defined, without saying a type
NOTHING: Final = ""

KIB: Final = 2**10
MIB: Final = 2**20


class Route(Struct, frozen=True):
    """One call of the protocol.

    Attributes:
        takes: Media type of the body, empty for none, ANY for whatever is said.
        gives: Media type of the answer.
        limit: Most bytes of a body or of an answer, whichever carries content.
    """

    name: str
    method: str
    path: str
    takes: str
    gives: str
    limit: int

    def url(self, base: str, **parts: str | int) -> str:
        """Return the URL of this call at an endpoint; parts fill the placeholders.

        Raises:
            ValueError: A part is `.` or `..`, which would be another place.
        """

        def fill(found: re.Match[str]) -> str:
            steps = quote(str(parts[found["name"]]), safe="/" if found["pattern"] else "")
            if {".", ".."} & set(steps.split("/")):
                raise ValueError(f"{steps} is no step of a path")
            return steps

        return base.rstrip("/") + _PLACEHOLDER.sub(fill, self.path)


# As aiohttp writes them: one step of the path, or by a pattern as many as it takes.
_PLACEHOLDER = re.compile(r"\{(?P<name>[a-z0-9]+)(?P<pattern>:[^}]+)?\}")


# A log
SUBMIT = Route("submit", "POST", "/submissions", COSE, CBOR, 16 * MIB)
REVOKE = Route("revoke", "POST", "/revocations", CBOR, CBOR, 64 * KIB)
CHECKPOINT = Route("checkpoint", "GET", "/checkpoint", NOTHING, TEXT, 64 * KIB)
TILE = Route("tile", "GET", "/tile/{path:.+}", NOTHING, BYTES, 32 * MIB)
LOOK_UP = Route("look-up", "GET", "/entries/{prefix}", NOTHING, CBOR, 4 * MIB)
CONSISTENCY = Route("consistency", "GET", "/consistency/{old}/{size}", NOTHING, CBOR, 64 * KIB)
# Anybody who relays a log, and the log itself
EVIDENCE_OF = Route("evidence", "GET", "/evidence/{index}", NOTHING, CBOR, 64 * KIB)
REVOCATION_OF = Route("revocation", "GET", "/revocations/{index}", NOTHING, CBOR, 64 * KIB)
NETWORK_FILE = Route("network", "GET", "/network", NOTHING, NETWORK, 16 * MIB)
# Providers and receivers relay what a wallet may read of a log, so that it need not ask the log
RELAYED_CHECKPOINT = Route(
    "relayed-checkpoint", "GET", "/logs/{origin}/checkpoint", NOTHING, TEXT, 64 * KIB
)
RELAYED_EVIDENCE = Route(
    "relayed-evidence", "GET", "/logs/{origin}/evidence/{index}", NOTHING, CBOR, 64 * KIB
)
RELAYED_REVOCATION = Route(
    "relayed-revocation", "GET", "/logs/{origin}/revocations/{index}", NOTHING, CBOR, 64 * KIB
)
RELAYED_CONSISTENCY = Route(
    "relayed-consistency",
    "GET",
    "/logs/{origin}/consistency/{old}/{size}",
    NOTHING,
    CBOR,
    64 * KIB,
)
# A witness; it answers RELAYED_CHECKPOINT as well, with what it cosigned last
ADD_CHECKPOINT = Route("add-checkpoint", "POST", "/add-checkpoint", ANY, TEXT, 128 * KIB)
# What pages show of a log
EXPLORE_ENTRIES = Route("explore-entries", "GET", "/explorer/entries", NOTHING, JSON, 256 * KIB)
EXPLORE_ENTRY = Route("explore-entry", "GET", "/explorer/entries/{index}", NOTHING, JSON, 256 * KIB)
EXPLORE_PROOF = Route("explore-proof", "GET", "/explorer/proof/{index}", NOTHING, JSON, 256 * KIB)
EXPLORE_CHECKPOINT = Route(
    "explore-checkpoint", "GET", "/explorer/checkpoint", NOTHING, JSON, 256 * KIB
)
EXPLORE_WITNESSES = Route(
    "explore-witnesses", "GET", "/explorer/witnesses", NOTHING, JSON, 256 * KIB
)
EXPLORE_ANCHORS = Route("explore-anchors", "GET", "/explorer/anchors", NOTHING, JSON, 256 * KIB)
EXPLORE_GROWTH = Route("explore-growth", "GET", "/explorer/growth", NOTHING, JSON, 256 * KIB)
# A provider
OFFER = Route("offer", "GET", "/offers/{offer}", NOTHING, CBOR, 64 * KIB)
COLLECT = Route("collect", "POST", "/offers/{offer}", CBOR, PACKAGE, 64 * MIB)
PACKAGE_DOCUMENT = Route("document", "GET", "/documents/{sha256}", NOTHING, BYTES, 4096 * MIB)
# A receiver
REQUEST_OF = Route("request", "GET", "/requests/{request}", NOTHING, REQUEST, 64 * KIB)
GRANT = Route("grant", "POST", "/requests/{request}/grants", CBOR, CBOR, 64 * KIB)
UPLOAD = Route(
    "upload", "PATCH", "/requests/{request}/documents/{sha256}", BYTES, NOTHING, 4096 * MIB
)
UPLOADED = Route("uploaded", "HEAD", "/requests/{request}/documents/{sha256}", NOTHING, NOTHING, 0)
PRESENT = Route("present", "POST", "/requests/{request}/presentation", PRESENTATION, AGE, 8 * MIB)
WITHDRAW = Route("withdraw", "POST", "/requests/{request}/withdrawal", CBOR, COSE, 64 * KIB)
# Every server, for those who run it; METRICS on the admin port only
HEALTH = Route("health", "GET", "/healthz", NOTHING, JSON, 64 * KIB)
READY = Route("ready", "GET", "/readyz", NOTHING, JSON, 64 * KIB)
METRICS = Route("metrics", "GET", "/metrics", NOTHING, METRICS_TEXT, 1 * MIB)

ROUTES: Final = (
    SUBMIT,
    REVOKE,
    CHECKPOINT,
    TILE,
    LOOK_UP,
    CONSISTENCY,
    EVIDENCE_OF,
    REVOCATION_OF,
    NETWORK_FILE,
    RELAYED_CHECKPOINT,
    RELAYED_EVIDENCE,
    RELAYED_REVOCATION,
    RELAYED_CONSISTENCY,
    ADD_CHECKPOINT,
    EXPLORE_ENTRIES,
    EXPLORE_ENTRY,
    EXPLORE_PROOF,
    EXPLORE_CHECKPOINT,
    EXPLORE_WITNESSES,
    EXPLORE_ANCHORS,
    EXPLORE_GROWTH,
    OFFER,
    COLLECT,
    PACKAGE_DOCUMENT,
    REQUEST_OF,
    GRANT,
    UPLOAD,
    UPLOADED,
    PRESENT,
    WITHDRAW,
    HEALTH,
    READY,
    METRICS,
)
