"""`ddtp wallet`: the holder's commands (spec/wallet.md).

Each command unlocks the wallet, does one thing and prints what came of it. What is imported
beside click is imported when a command runs: `ddtp --help` stays fast.
"""

from holder.cli import keys, proofs, records, requests
from holder.cli.group import wallet

__all__ = ["keys", "proofs", "records", "requests", "wallet"]
