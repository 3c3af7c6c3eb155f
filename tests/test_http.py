"""spec/http.md: the table of calls, and the URLs that are built from it."""

from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddtp import http
from ddtp.http import ROUTES, Route

CHAPTER = Path(__file__).parents[1] / "spec" / "http.md"
BASE = "https://log.example/ddtp"


def row_of(route: Route) -> tuple[str, ...]:
    """Return a route as the chapter writes it."""
    cells = (route.takes or "-", route.gives or "-", limit_of(route.limit))
    return (f"`{route.name}`", route.method, f"`{route.path}`", *cells)


def limit_of(limit: int) -> str:
    if limit == 0:
        return "-"
    return f"{limit // http.MIB} MiB" if limit >= http.MIB else f"{limit // http.KIB} KiB"


def test_the_chapter_and_the_code_have_one_table() -> None:
    lines = CHAPTER.read_text(encoding="utf-8").splitlines()
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines]
    written = [row for row in rows if len(row) == 6 and row[0].startswith("`")]
    assert written == list(map(row_of, ROUTES))


def test_every_route_of_the_module_is_in_the_table() -> None:
    assert set(ROUTES) == {each for each in vars(http).values() if isinstance(each, Route)}


def test_no_name_and_no_call_stands_twice() -> None:
    names = Counter(route.name for route in ROUTES)
    calls = Counter((route.method, route.path) for route in ROUTES)
    assert {*names.values(), *calls.values()} == {1}


def test_a_url_is_the_endpoint_and_the_filled_path() -> None:
    assert http.EVIDENCE_OF.url(BASE + "/", index=7) == f"{BASE}/evidence/7"


def test_an_origin_is_one_step_of_a_path() -> None:
    url = http.RELAYED_EVIDENCE.url(BASE, origin="log.example/one", index=7)
    assert url == f"{BASE}/logs/log.example%2Fone/evidence/7"


def test_the_path_of_a_tile_has_several_steps() -> None:
    assert http.TILE.url(BASE, path="0/x001/067.p/3") == f"{BASE}/tile/0/x001/067.p/3"


def test_a_part_that_is_missing_is_our_own_fault() -> None:
    with pytest.raises(KeyError, match="size"):
        http.CONSISTENCY.url(BASE, old=1)


@pytest.mark.parametrize(("route", "part"), [(http.OFFER, ".."), (http.TILE, "0/../../x")])
def test_a_part_that_leads_elsewhere_is_refused(route: Route, part: str) -> None:
    with pytest.raises(ValueError, match="step"):
        route.url(BASE, offer=part, path=part)


@given(st.text(min_size=1).filter(lambda part: part not in (".", "..")))
def test_a_part_never_leaves_its_step(part: str) -> None:
    step = http.OFFER.url("", offer=part).removeprefix("/offers/")
    assert (set("/?#") & set(step), unquote(step, errors="replace")) == (set(), part)
