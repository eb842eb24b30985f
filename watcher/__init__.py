"""Keeps the dev container behind a port equal to a Go source tree."""

__version__ = "0.1.0"
