"""Batch issue: a table of records, each to a holder's key or to a customer (spec/provider.md)."""
