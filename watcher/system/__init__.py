"""The operating system's side of the process: locks, sockets, signals, output."""
