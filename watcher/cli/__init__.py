"""The command line: parses arguments, runs a command, returns its exit status."""
