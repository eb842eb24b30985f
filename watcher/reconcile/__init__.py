"""The loop that drives the live container to the desired revision."""
