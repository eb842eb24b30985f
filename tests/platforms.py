"""Platforms to build on and for."""

from watcher.dockerfile import Platforms

AMD64 = Platforms("linux/amd64", "linux/amd64")
ARM64 = Platforms("linux/arm64", "linux/arm64")
CROSS = Platforms("linux/amd64", "linux/arm64")
