"""`ddtp receiver`: ask for records, receive and check them (spec/receiver.md, Commands).

What is imported beside click is imported when a command runs: `ddtp --help` stays fast.
"""

from receiver.cli import cases, requests, setup, upkeep
from receiver.cli.group import receiver

__all__ = ["cases", "receiver", "requests", "setup", "upkeep"]
