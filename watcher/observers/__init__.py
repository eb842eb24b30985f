"""Events, and everything that listens to them: console, log, metrics, status."""
