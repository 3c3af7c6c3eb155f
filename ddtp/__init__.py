"""The DDTP protocol without input or output: frozen values and pure functions.

Time, randomness, keys and registry answers are arguments here, never fetched,
so that every rule can be tried without a server. Two parts are exceptions and
are used by the rooms only: `ddtp.web` (HTTP) and `ddtp.cli` (the command line).
Import the module that you need, as in `from ddtp import grant`.
"""

__version__ = "0.1.0"
