"""The numbers that stand for field names in signed maps (spec/labels.md).

One number means one thing in every message. 1 to 8 are the CWT claims of RFC 8392 and
RFC 8747; from 100 on they are ours. A number is never used again for something else.
"""

from typing import Final

ISS: Final = 1  # who signs, a member id
AUD: Final = 3  # whom it is for: a member id, or a log's origin in a submission
EXP: Final = 4  # first second after validity
IAT: Final = 6  # first second of validity, or when it was said
CTI: Final = 7  # 16 random bytes that make it unlike any other
CNF: Final = 8  # the bound key, as {3: key id} (RFC 8747 section 3.4)
CNF_KID: Final = 3

TYPE: Final = 100  # record type, "bank-statement/1"
ROOT: Final = 101  # root of the tree of items, 32 bytes
SIZE: Final = 102  # number of leaves
BASIS: Final = 103  # 1 own record, 2 witnessed, 3 uploaded by the holder
SOURCE: Final = 104  # who is said to have made it (basis 2 and 3)
LOCK: Final = 105  # SHA-256 of the revocation key, 32 bytes
LOG: Final = 106  # origin of the one log that registers it

NONCE: Final = 110  # challenge of an offer (16 bytes) or of a request (32 bytes)
RECORD: Final = 111  # the record asked for, the provider's word for it

MATTER: Final = 120  # the words by which the holder knows the case
PURPOSE: Final = 121  # [code, {language: sentence}]
WANTED: Final = 122  # what is asked for, an array of wants
RETENTION: Final = 123  # how long the receiver keeps it, seconds
ABROAD: Final = 124  # whether it leaves the jurisdiction: its code, or null
RESPOND: Final = 125  # where answers go, an https URL
RECIPIENT: Final = 126  # age recipient to seal to
TOKEN: Final = 127  # upload token, 16 bytes
USE: Final = 128  # the use key, a key id
BINDING: Final = 129  # 1 same device, 2 at the counter, 3 none

REQUEST: Final = 140  # fingerprint of a request
PACKAGES: Final = 141  # fingerprints of the packages presented together
DISCLOSED: Final = 142  # SHA-256 over the disclosed items, 32 bytes
GRANTS: Final = 143  # fingerprints of grants
OUTCOME: Final = 144  # 1 verified, 2 not verified
REASONS: Final = 145  # the rules that failed
RETAIN_UNTIL: Final = 146  # Unix time after which the receiver keeps nothing
ERASED: Final = 147  # what was erased
KEPT: Final = 148  # what is kept: [what, until, by which law]

ENTRIES: Final = 160  # entries without their time
INDEX: Final = 161  # index of an entry
RECEIPT: Final = 162  # fingerprint of a receipt

MEMBER: Final = 170  # a member's row as it asks to be admitted
LOG_ROW: Final = 171  # the log it brings, or null
WITNESS_ROW: Final = 172  # the witness it brings
