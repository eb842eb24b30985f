"""Data files: settings with their defaults, Prometheus, Grafana."""
