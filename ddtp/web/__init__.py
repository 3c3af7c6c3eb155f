"""HTTP for the rooms, and the only part of ddtp that knows aiohttp and Jinja (spec/web.md).

A server is `application` and `serve`, a handler uses `body` and `reply`, calls go
out through `Client`, pages through `Pages`. Import it inside a command: it is slow.
"""

from aiohttp.web import Application, Request, Response, StreamResponse

from ddtp.web.client import Client, check_url, is_loopback
from ddtp.web.guard import HOSTS, Handler, body, body_into, form, hand_on, language, pieces
from ddtp.web.pages import FORM, HTML, STYLE, Pages, qr, style
from ddtp.web.problem import Problem
from ddtp.web.server import (
    Server,
    application,
    redirect,
    reply,
    reply_file,
    run,
    serve,
    until_stopped,
)

__all__ = [
    "FORM",
    "HOSTS",
    "HTML",
    "STYLE",
    "Application",
    "Client",
    "Handler",
    "Pages",
    "Problem",
    "Request",
    "Response",
    "Server",
    "StreamResponse",
    "application",
    "body",
    "body_into",
    "check_url",
    "form",
    "hand_on",
    "is_loopback",
    "language",
    "pieces",
    "qr",
    "redirect",
    "reply",
    "reply_file",
    "run",
    "serve",
    "style",
    "until_stopped",
]
