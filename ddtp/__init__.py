"""DDTP/1, the protocol: frozen values and pure functions (spec/README.md).

Nothing here reads a clock, a random source, a file or the network: callers pass
what the core needs. Import the module you use (`from ddtp import grant`).
"""
