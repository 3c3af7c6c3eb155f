"""Ed25519 and HKDF vectors of others: CCTV, Wycheproof, ed25519-speccheck, RFC 5869, RFC 8032.

Our rule for signatures (spec/keys.md) is one of several in use. CCTV and speccheck say of each
odd signature what is odd about it, so our rule predicts the answer to every one of them.
"""

from collections.abc import Iterator

import pytest

from ddtp import keys
from ddtp.keys import KeyID
from tests.rules import broken_rule
from tests.vectors import VECTORS, load, over

Signed = dict[str, str]


def verdict(case: Signed) -> str:
    """Return by which rule a signature is refused, "ok" when it is not."""
    public, signature, message = (bytes.fromhex(case[name]) for name in ("key", "sig", "msg"))
    return broken_rule(lambda: keys.verify(KeyID.of(public), signature, message))


# By the chapter: S reduced, A and R canonical and not of small order, no cofactor.
REFUSED = {
    *("low_order_A", "low_order_R", "non_canonical_A", "non_canonical_R"),
    "low_order_residue",
}


def cctv(*, refused: bool) -> Iterator[tuple[str, Signed]]:
    for vector in load("crypto/cctv-ed25519/ed25519vectors.json") or []:
        flags = set(vector["flags"] or [])
        if bool(flags & REFUSED) == refused:
            yield str(vector["number"]), vector | {"msg": vector["msg"].encode().hex()}


@over(cctv(refused=False))
def test_cctv_signatures_that_our_rule_allows_are_accepted(case: Signed) -> None:
    assert verdict(case) == "ok"


@over(cctv(refused=True))
def test_cctv_signatures_that_our_rule_forbids_are_refused(case: Signed) -> None:
    assert verdict(case) in ("keys.2", "keys.3")


def wycheproof() -> Iterator[tuple[str, tuple[Signed, str]]]:
    vectors = load("crypto/wycheproof/ed25519_test.json") or {"testGroups": []}
    for group in vectors["testGroups"]:
        for test in group["tests"]:
            case = {"key": group["publicKey"]["pk"], "sig": test["sig"], "msg": test["msg"]}
            yield f"{test['tcId']}-{test['comment']}", (case, test["result"])


@over((name, case) for name, (case, result) in wycheproof() if result == "valid")
def test_wycheproof_valid_signatures_are_accepted(case: Signed) -> None:
    assert verdict(case) == "ok"


@over((name, case) for name, (case, result) in wycheproof() if result == "invalid")
def test_wycheproof_invalid_signatures_are_refused(case: Signed) -> None:
    assert verdict(case) == "keys.3"


def test_wycheproof_has_no_acceptable_signatures_that_could_go_either_way() -> None:
    assert {result for _, (_, result) in wycheproof()} <= {"valid", "invalid"}


# Number of the case -> what our rule says (the numbers are those of the paper, section 4).
SPECCHECK = {
    0: "keys.2",  # A and R of small order
    1: "keys.2",  # A of small order
    2: "keys.3",  # R of small order
    3: "ok",  # A and R have a part of small order; the equation holds without cofactor
    4: "keys.3",  # holds only with cofactor
    5: "keys.3",  # holds only with cofactor
    6: "keys.3",  # S above the order
    7: "keys.3",  # S far above the order
    8: "keys.3",  # R not canonical
    9: "keys.3",  # R not canonical
    10: "keys.2",  # A not canonical
    11: "keys.2",  # A not canonical
}


def speccheck() -> Iterator[tuple[str, tuple[int, Signed]]]:
    for number, vector in enumerate(load("crypto/ed25519-speccheck/cases.json") or []):
        case = {"key": vector["pub_key"], "sig": vector["signature"], "msg": vector["message"]}
        yield str(number), (number, case)


@over(speccheck())
def test_speccheck_cases_are_answered_by_our_rule(case: tuple[int, Signed]) -> None:
    number, signed = case
    assert verdict(signed) == SPECCHECK[number]


def rfc5869() -> Iterator[tuple[str, dict[str, str]]]:
    file = VECTORS / "crypto/pyca/rfc-5869-HKDF-SHA256.txt"
    text = file.read_text(encoding="ascii") if file.is_file() else ""
    for block in text.split("COUNT = ")[1:]:
        lines = (line.partition("=") for line in block.splitlines() if "=" in line)
        yield block.split()[0], {name.strip(): value.strip() for name, _, value in lines}


@over((number, case) for number, case in rfc5869() if not case["salt"])
def test_rfc_5869_without_salt_is_derived_alike(case: dict[str, str]) -> None:
    secret, info = bytes.fromhex(case["IKM"]), bytes.fromhex(case["info"])
    assert keys.derive(secret, info, int(case["L"])).hex() == case["OKM"]


@over((number, case) for number, case in rfc5869() if case["salt"])
def test_rfc_5869_with_salt_gives_other_keys_we_use_no_salt(case: dict[str, str]) -> None:
    secret, info = bytes.fromhex(case["IKM"]), bytes.fromhex(case["info"])
    assert keys.derive(secret, info, int(case["L"])).hex() != case["OKM"]


def hkdf() -> Iterator[tuple[str, dict[str, str | int]]]:
    vectors = load("crypto/wycheproof/hkdf_sha256_test.json") or {"testGroups": []}
    for group in vectors["testGroups"]:
        for test in group["tests"]:
            yield f"{test['tcId']}-{test['comment']}", test


def salted(case: dict[str, str | int]) -> bool:
    """Return whether there is a salt; one of zeros is the same as none (RFC 5869 section 2.2)."""
    return bool(str(case["salt"]).strip("0"))


def derived(case: dict[str, str | int]) -> bytes:
    secret, info = bytes.fromhex(str(case["ikm"])), bytes.fromhex(str(case["info"]))
    return keys.derive(secret, info, int(case["size"]))


@over((name, case) for name, case in hkdf() if case["result"] == "valid" and not salted(case))
def test_wycheproof_hkdf_without_salt_is_derived_alike(case: dict[str, str | int]) -> None:
    assert derived(case).hex() == case["okm"]


@over((name, case) for name, case in hkdf() if case["result"] == "valid" and salted(case))
def test_wycheproof_hkdf_with_salt_gives_other_keys_we_use_no_salt(
    case: dict[str, str | int],
) -> None:
    assert derived(case).hex() != case["okm"]


@over((name, case) for name, case in hkdf() if case["result"] == "invalid")
def test_wycheproof_hkdf_lengths_beyond_the_limit_are_refused(case: dict[str, str | int]) -> None:
    with pytest.raises(ValueError, match="8160"):
        derived(case)


# RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC_8032)
def test_rfc_8032_signatures_are_made_and_accepted(
    seed: str, public: str, message: str, signature: str
) -> None:
    signer = keys.SigningKey(bytes.fromhex(seed))
    assert signer.key_id.public.hex() == public
    assert signer.sign(bytes.fromhex(message)).hex() == signature
    keys.verify(signer.key_id, bytes.fromhex(signature), bytes.fromhex(message))
