"""A BuildKit client in pure Python: solves, progress, incremental context sync."""
