"""Explain failures: positions in the user's files, and hints. Pure."""
