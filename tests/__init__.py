"""The tests mirror the chapters of spec/; run them with `make test`."""
