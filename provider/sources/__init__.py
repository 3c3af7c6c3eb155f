"""Readers of files that banks and others already write: one module a format (spec/provider.md).

Each has a `read(data, name, reading) -> tuple[Record, ...]` (provider.sources.reading.Reader). It
gets the bytes of one file, never a path; it names what is wrong by line and element or column, and
never by its contents. Which files go to which reader says one table, in provider.records.
"""
