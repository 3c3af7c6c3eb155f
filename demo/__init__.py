"""The whole play on one machine: demo, benchmark and the records they use."""
