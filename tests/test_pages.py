"""The base page in a real browser: reflow, languages, no scripts needed, nothing refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import Struct
from playwright.async_api import Browser

from ddtp import web, words
from ddtp.http import Route
from tests.browser import chromium, needs_chromium

FORM = Route("form", "GET", "/form", "", web.HTML, 0)
SENT = Route("sent", "POST", "/form", web.FORM, web.HTML, 1_000)
TEMPLATE = """
{% extends "base.html" %}
{% block main %}
<h1>{{ heading }}</h1>
<form method="post" action="/form"><label for="name">Name</label><input id="name" name="name">
<button>Share</button></form>
<div class="scroll"><table><caption>Rows</caption>
<tr><th scope="col">Date</th><td>a-word-without-any-place-to-break-it-in-the-middle</td>
<td class="number">1,234,567,890.12</td></tr></table></div>
{% endblock %}
"""

pytestmark = needs_chromium


class Room(Struct, frozen=True):
    """Two pages."""

    pages: web.Pages

    async def form(self, request: web.Request) -> web.StreamResponse:
        return self.pages.page(request, "form.html", heading="Who are you?")

    async def sent(self, request: web.Request) -> web.StreamResponse:
        fields = await web.form(request)
        return self.pages.page(request, "form.html", heading=fields["name"])


@pytest.fixture
async def base(tmp_path: Path) -> AsyncIterator[str]:
    (tmp_path / "form.html").write_text(TEMPLATE)
    room = Room(web.Pages(tmp_path, product="Demo Bank", test_data=True))
    handlers = {FORM: room.form, SENT: room.sent, web.STYLE: web.style}
    app = web.application(handlers, problem_page=room.pages.problem)
    async with web.serve(app) as server:
        yield server.url


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


async def test_a_page_flows_into_320_pixels_in_every_language(base: str, browser: Browser) -> None:
    page = await browser.new_page(viewport={"width": 320, "height": 640})
    widths = {}
    for language in words.LANGUAGES:
        await page.goto(f"{base}/form?lang={language}")
        widths[language] = await page.evaluate("document.documentElement.scrollWidth")
    assert widths == dict.fromkeys(words.LANGUAGES, 320)


async def test_a_form_works_without_scripts(base: str, browser: Browser) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{base}/form")
    await page.get_by_label("Name").fill("陳大文 <b>")
    await page.get_by_role("button", name="Share").click()
    assert await page.get_by_role("heading").inner_text() == "陳大文 <b>"


async def test_a_page_loads_nothing_that_its_policy_refuses(base: str, browser: Browser) -> None:
    page = await browser.new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    await page.goto(f"{base}/form")
    background = "getComputedStyle(document.body).maxWidth"
    assert (told, await page.evaluate(background)) == ([], "704px")


async def test_a_page_is_dark_for_those_who_ask(base: str, browser: Browser) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        context = await browser.new_context(color_scheme=scheme)
        page = await context.new_page()
        await page.goto(f"{base}/form")
        colours[scheme] = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert colours == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}


async def test_the_keyboard_reaches_the_button_in_order(base: str, browser: Browser) -> None:
    page = await browser.new_page()
    await page.goto(f"{base}/form")
    reached = []
    for _ in range(7):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.tagName"))
    assert reached == ["A", "A", "A", "A", "A", "INPUT", "BUTTON"]
