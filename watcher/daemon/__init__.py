"""The daemon: constructs every object, wires them, and owns their lifetime."""
