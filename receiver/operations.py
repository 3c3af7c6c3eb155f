"""How a receiver's server is (spec/operations.md)."""

from collections.abc import Callable

from chain import readiness
from ddtp.web.operations import Gauge, Operations
from receiver.home import DATABASE, Home


def operations(home: Home, clock: Callable[[], int]) -> Operations:
    """Return what a receiver's server tells those who run it."""
    desk = home.desk
    looks = readiness.looks(
        home.path,
        [home.path / DATABASE],
        desk.view,
        [desk.asker.log],
        status_seconds=desk.policy.status_seconds,
        clock=clock,
    )

    def gauges() -> list[Gauge]:
        return [
            Gauge(
                name="ddtp_requests",
                help="Requests by state.",
                label="state",
                values={state: float(count) for state, count in desk.cases.counts().items()},
            )
        ]

    return Operations(looks, gauges)
