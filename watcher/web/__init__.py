"""The HTTP surface: status page, API, event stream, metrics and health, on one loopback port.

board, registry = StatusBoard(), MetricRegistry()
app = create_app(board, registry, controls, settings.http)
async with serve(app, settings.http.host, [settings.http.port]) as url:
    ...
"""

from watcher.web.app import create_app
from watcher.web.controls import Controls
from watcher.web.server import serve

__all__ = ["Controls", "create_app", "serve"]
