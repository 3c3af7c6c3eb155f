"""`ddtp provider`: issue records to customers (spec/provider.md, Commands).

What is imported beside click is imported when a command runs: `ddtp --help` stays fast.
"""

from provider.cli import batch, customers, issuing, keys, packages, running
from provider.cli.group import provider

__all__ = ["batch", "customers", "issuing", "keys", "packages", "provider", "running"]
