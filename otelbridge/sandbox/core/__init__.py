"""Core-module guests: worker ABI 1 and WASI commands."""
