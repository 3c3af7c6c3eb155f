"""How a provider's server is (spec/operations.md)."""

from collections.abc import Callable

from chain import member, readiness
from ddtp.policy import STATUS_SECONDS
from ddtp.web.operations import Gauge, Operations
from provider.home import DATABASE, Home


def operations(home: Home, clock: Callable[[], int]) -> Operations:
    """Return what a provider's server tells those who run it."""
    looks = readiness.looks(
        home.path,
        [home.path / DATABASE],
        home.view,
        [member.log_of(home.settings.log, home.view.network, "provider.11")],
        status_seconds=STATUS_SECONDS,
        clock=clock,
    )

    def gauges() -> list[Gauge]:
        waiting, oldest = home.store.outbox()
        return [
            Gauge(
                name="ddtp_outbox_entries",
                help="Entries that no log has proven yet, by kind.",
                label="kind",
                values={kind: float(count) for kind, count in waiting.items()},
            ),
            Gauge(
                name="ddtp_outbox_age_seconds",
                help="How long the oldest package has waited for its registration.",
                values={"": float(max(0, clock() - oldest) if oldest is not None else 0)},
            ),
        ]

    return Operations(looks, gauges)
