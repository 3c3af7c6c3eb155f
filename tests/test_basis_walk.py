"""A record that its provider did not make goes the whole way, and is taken where that is said."""

from pathlib import Path

import pytest

from ddtp.receipt import Receipt
from ddtp.words.verdict import explain
from holder.collect import collect
from tests.journey import ignore, open_journey


@pytest.mark.parametrize(
    ("bases", "outcome", "reasons"),
    [
        ("own-record", "not_verified", ("policy.1",)),
        ("own-record,uploaded-by-holder", "not_verified", ("policy.1",)),
        ("own-record,witnessed-by-notary", "verified", ()),
    ],
)
async def test_a_witnessed_record_is_taken_where_the_policy_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    bases: str,
    outcome: str,
    reasons: tuple[str, ...],
) -> None:
    monkeypatch.setenv("DDTP_PROVIDER__BASIS", "witnessed-by-notary")
    monkeypatch.setenv("DDTP_PROVIDER__SOURCE", "Land Registry")
    monkeypatch.setenv("DDTP_RECEIVER__BASES", bases)
    async with open_journey(tmp_path) as journey:
        arrived = await collect(journey.wallet, await journey.offer(), ignore)
        sent = await journey.shared(journey.ask())
    assert sent.receipt is not None
    assert sent.state.value == outcome
    assert Receipt.open(sent.receipt).reasons == reasons
    told = explain(arrived.verdict).notices
    assert [notice for notice in told if "Land Registry" in notice]
