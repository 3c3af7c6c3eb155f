"""`ddtp chain`, `ddtp trust`, `ddtp verify` and `ddtp doctor` (spec/cli.md).

One module a noun, each imported when it is called.
"""
