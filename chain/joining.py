"""How the commands `init` of a provider and of a receiver ask and answer (spec/cli.md)."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from ddtp.cli import console, files, safe

if TYPE_CHECKING:
    from chain.member import Membership
    from ddtp.card import Card


class Joining(Struct, frozen=True, kw_only=True):
    """What was said to `init`.

    Attributes:
        network_file: The network file, whose governors are trusted from now on.
        source: Path or URL of newer ones; that file when not given.
        endpoint: URL under which we are called; this machine's when not given.
        log: Origin of the log, empty for the network's only one.
    """

    member: str
    names: tuple[str, ...]
    network_file: Path
    source: str | None
    endpoint: str | None
    port: int
    jurisdiction: str
    log: str

    def membership(self, purposes: tuple[str, ...] = ()) -> "Membership":
        """Return what the card will say."""
        from chain.member import Membership
        from ddtp.network import MemberID

        return Membership(
            member=MemberID(self.member),
            names=dict(map(_named, self.names)),
            jurisdiction=self.jurisdiction,
            endpoint=self.endpoint or f"http://127.0.0.1:{self.port}",
            purposes=purposes,
        )

    def network(self) -> bytes:
        """Return what the network file holds."""
        from ddtp import network

        return files.read(self.network_file, limit=network.MAX_BYTES)

    def where(self) -> str:
        """Return where newer network files will be found."""
        from chain.pinned import remembered

        return remembered(self.source or str(self.network_file))


def joins(*, port: int, jurisdiction: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what gives a command the options of `Joining`, as its argument `joining`."""

    def decorated(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def called(
            *,
            member: str,
            names: tuple[str, ...],
            network_file: Path,
            source: str | None,
            endpoint: str | None,
            port: int,
            jurisdiction: str,
            log: str,
            **rest: Any,
        ) -> Any:
            joining = Joining(
                member=member,
                names=names,
                network_file=network_file,
                source=source,
                endpoint=endpoint,
                port=port,
                jurisdiction=jurisdiction,
                log=log,
            )
            return command(joining=joining, **rest)

        # The options are attached to the function that click sees.
        for option in reversed(_options(port, jurisdiction)):
            called = option(called)
        return called

    return decorated


def tell_card(schema: str, home: Path, card: "Card") -> None:
    """Print where a new member's card is, its fingerprint, and what to do with it."""
    from chain.member import CARD
    from ddtp.fingerprint import Fingerprint

    place = home / CARD
    fingerprint = Fingerprint.of(place.read_bytes()).text
    fields = {
        "schema": schema,
        "home": str(home),
        "card": str(place),
        "fingerprint": fingerprint,
        "key": card.member.keys[0].key.text,
    }
    console().result(fields, f"{safe(str(place))}\nfingerprint {fingerprint}")
    console().notice(
        "Next: have the governors admit the card: "
        f"ddtp trust admit {safe(str(place))} --home GOVERNANCE"
    )


def _options(port: int, jurisdiction: str) -> list[Callable[[Callable[..., Any]], Any]]:
    file = click.Path(path_type=Path, dir_okay=False, exists=True)
    of_port = click.IntRange(1, 65_535)
    option = click.option
    return [
        option("--id", "member", required=True, help="Our id in the network, did:web:...."),
        option("--name", "names", multiple=True, required=True, help="NAME, or LANGUAGE=NAME."),
        option(
            "--network",
            "network_file",
            type=file,
            required=True,
            help="The network file, whose governors are trusted from now on.",
        ),
        option("--source", help="Path or URL of newer network files; that file when not given."),
        option("--endpoint", help="URL under which we are reached; this machine's if none."),
        option("--port", type=of_port, default=port, show_default=True, help="Port to listen at."),
        option("--jurisdiction", default=jurisdiction, show_default=True, help="As in CN, HK, MO."),
        option("--log", default="", help="Origin of our log; the network's only one if none."),
    ]


def _named(text: str) -> tuple[str, str]:
    language, equals, name = text.partition("=")
    return (language, name) if equals else ("en", text)
