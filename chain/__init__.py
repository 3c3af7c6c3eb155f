"""The registry: who registers, who asks, and what a log keeps (spec/registry.md).

`registry` is what actors use, `log` keeps entries in SQLite, `client` and `server` put HTTP
between the two, and `view` holds what one user trusts and has seen, for `case` to gather what a
verdict needs.
"""
