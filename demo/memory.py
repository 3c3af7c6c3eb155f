"""How much memory a process had at the most, as Linux counts it.

`getrusage` is of no use for this: a process that was started counts what its parent had then.
"""

from pathlib import Path

KIB = 1024


def peak(pid: int | None = None) -> int:
    """Return the most memory that a process, or this one, had at once since it began, in bytes.

    Raises:
        OSError: There is no such process, or no Linux.
        StopIteration: It has ended, and nobody has waited for it.
    """
    lines = _of(pid, "status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith("VmHWM"))


def forget_peak(pid: int) -> None:
    """Have the peak of a process begin again with what it has now."""
    _of(pid, "clear_refs").write_text("5", encoding="ascii")


def _of(pid: int | None, name: str) -> Path:
    return Path("/proc", "self" if pid is None else str(pid), name)
