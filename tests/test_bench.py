"""`ddtp bench log` and `chain` on a short log: every figure of theirs is measured and printed."""

import json
import subprocess
import sys

LOG = {"log_open_s", "log_evidence_ms", "log_append_ratio"}
CHAIN = {
    "bytes_per_entry",
    "open_s",
    "inclusion_ms",
    "consistency_ms",
    "append_library",
    "append_ratio",
    "append_http",
    "log_mib",
}


def test_the_figures_of_a_log_are_measured_at_any_size() -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "ddtp",
            "bench",
            "log",
            "chain",
            "--entries",
            "3000",
            "--seconds",
            "1",
            "--json",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode in (0, 1), ran.stderr
    figures = {each["name"]: each for each in map(json.loads, ran.stdout.splitlines())}
    assert set(figures) == LOG | CHAIN
    assert all(each["value"] > 0 and each["limit"] > 0 for each in figures.values())
    # What no load of the machine changes.
    assert figures["bytes_per_entry"]["good"]
    assert figures["log_mib"]["good"]
