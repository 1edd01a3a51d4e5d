"""Core-module guests."""
