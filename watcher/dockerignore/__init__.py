"""Ignore files, with the rules of moby/patternmatcher. Pure."""
