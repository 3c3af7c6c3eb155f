"""Pages for people: rendered here, complete without scripts, in four languages.

A room has a folder of templates that extend `base.html`; words come from the
catalogue by `say("portal.title")`, so that no sentence stands in a template.
"""

from functools import partial
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import ddtp
from ddtp import words
from ddtp.http import Route
from ddtp.web import guard
from ddtp.web.problem import Problem

HTML: Final = "text/html; charset=utf-8"
FORM: Final = "application/x-www-form-urlencoded"
STYLE: Final = Route("style", "GET", "/style.css", "", "text/css; charset=utf-8", 0)
NAMES: Final = (
    ("en", "English"),
    ("zh-Hans", "简体中文"),
    ("zh-Hant", "繁體中文"),
    ("pt", "Português"),
)
_BASE: Final = Path(str(files("ddtp.web"))) / "templates"
_YEAR: Final = 365 * 24 * 3600


class Pages:
    """A room's templates and how they become answers.

    Args:
        folder: The room's own templates.
        product: The name in the header of every page.
        test_data: Every page says that nothing on it is real.
    """

    def __init__(self, folder: Path, *, product: str, test_data: bool) -> None:
        self._environment = Environment(
            loader=FileSystemLoader([folder, _BASE]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(
            product=product, test_data=test_data, version=ddtp.__version__, languages=NAMES
        )

    def page(
        self, request: web.Request, template: str, *, status: int = 200, **values: object
    ) -> web.Response:
        """Return one page in the language of whoever asked."""
        language = guard.language(request)
        text = self._environment.get_template(template).render(
            language=language, say=partial(_say, language), **values
        )
        response = web.Response(status=status, body=text.encode(), headers={"Content-Type": HTML})
        response.headers["Content-Language"] = language
        if request.query.get("lang") in words.LANGUAGES:
            response.set_cookie("lang", language, max_age=_YEAR, httponly=True, samesite="Lax")
        return response

    def problem(self, request: web.Request, problem: Problem) -> web.StreamResponse:
        """Return the page that tells a refusal."""
        return self.page(request, "problem.html", status=problem.status, problem=problem)


def qr(link: str) -> str:
    """Return a link as an SVG image of its QR code, to stand in a page, also in a dark one."""
    import segno  # only a page with a code needs it

    drawn = BytesIO()
    segno.make(link, error="m").save(
        drawn,
        kind="svg",
        xmldecl=False,
        svgns=True,
        border=4,
        omitsize=True,
        nl=False,
        light="#fff",
    )
    return drawn.getvalue().decode()


async def style(request: web.Request) -> web.StreamResponse:
    """Answer the one style sheet of all rooms."""
    response = web.Response(body=(_BASE / "style.css").read_bytes())
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def _say(language: str, key: str, **values: object) -> str:
    return words.say(key, language, **values)
