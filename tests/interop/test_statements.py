"""Two libraries that we did not write read the same entries out of others' bank statements.

They are for tests only (spec/decisions/libraries.md). Files that one of them cannot read, or reads
otherwise than their balances say, are named with the reason; files that we refuse are in
tests/test_ofx.py and tests/test_mt940.py with theirs.
"""

from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import cast

import mt940
import pytest
from ofxtools.Parser import OFXTree

from ddtp import record_type
from ddtp.record import Record
from provider.sources import mt940 as our_mt940
from provider.sources import ofx as our_ofx
from provider.sources.reading import Reading, Unbalanced
from tests import test_mt940, test_ofx
from tests.vectors import over

TELL = Reading(unbalanced=Unbalanced.TELL)
UNREAD = {
    "checking.ofx": "a-bank-id-of-ten-digits",
    "ofx-v102-empty-tags.ofx": "lines-before-the-header",
    "ASNB/mt940.txt": "a-name-behind-a-line-break",
    "betterplace/sepa_mt9401.sta": "a-reversed-credit-is-added",
}
OFX = [path for path in test_ofx.FILES if path.name not in {*test_ofx.REFUSED, *UNREAD}]
MT940 = [
    path
    for path in test_mt940.FILES
    if test_mt940.REFUSED.get(test_mt940.named(path), ("source.9",))[0] == "source.9"
    and test_mt940.named(path) not in UNREAD
]


def entries(records: Iterable[Record]) -> list[tuple[str, Decimal]]:
    """Return day and amount of every row, in the order of both."""
    found = []
    for record in records:
        for part in record.tables.get("transactions", ()):
            for row in part.rows:
                currency, minor = cast("list[object]", row["amount"])
                digits = record_type.minor_digits(str(currency))
                found.append((str(row["date"]), Decimal(str(minor)).scaleb(-digits)))
    return sorted(found)


@pytest.mark.filterwarnings("ignore:Encountered private extension tag")
@over((path.name, path) for path in OFX)
def test_ofxtools_reads_the_same_entries(case: Path) -> None:
    tree = OFXTree()
    tree.parse(str(case))
    statements = tree.convert().statements
    theirs = [
        (each.dtposted.date().isoformat(), each.trnamt)
        for statement in statements
        for each in statement.transactions or ()
    ]
    ours = entries(our_ofx.read(case.read_bytes(), case.name, Reading()))
    assert [amount for _, amount in ours] == [amount for _, amount in sorted(theirs)]


@over((test_mt940.named(path), path) for path in MT940)
def test_mt_940_reads_the_same_entries(case: Path) -> None:
    theirs = [
        ((each.data.get("entry_date") or each.data["date"]).isoformat(), each.data["amount"].amount)
        for each in mt940.parse(str(case))
    ]
    assert entries(our_mt940.read(case.read_bytes(), case.name, TELL)) == sorted(theirs)


@pytest.mark.parametrize(("name", "reason"), UNREAD.items(), ids=str)
def test_files_that_a_library_cannot_read_are_read_by_us(name: str, reason: str) -> None:
    assert reason
    assert name not in {*test_ofx.REFUSED, *test_mt940.REFUSED}
