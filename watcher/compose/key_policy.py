"""The keys of a service that are ignored on purpose or refused, each with its reason.

Everything else is honoured (`service.py`) or unknown, and what is unknown is refused too.
"""

from __future__ import annotations

IGNORED = {
    "attach": "says whose log `compose up` prints",
    # Its `ignore` lists only keep `compose watch` quiet; `watch.ignore` also keeps files out of the build.
    "develop": "says what `compose watch` does: this daemon takes its place",
    "extends": "done before, when definitions are merged",
    "profiles": "decides before whether the service is active",
}

REFUSED = {
    "cpu_count": "it is for Windows only",
    "cpu_percent": "it is for Windows only",
    "credential_spec": "it is for Windows only",
    "models": "models are not started",
    "pre_start": "containers that run before a start are not made",
    "provider": "the service is run by a program outside of the engine",
    "umask": "the engine starts every container with its own",
    "use_api_socket": "the engine's socket is not handed to containers; mount it as a volume if you mean it",
}

# Of `deploy` docker compose itself uses resources, restart_policy and replicas; the rest is for swarm.
DEPLOY_IGNORED = {
    "endpoint_mode": "for swarm",
    "labels": "labels of the swarm service, not of the container",
    "mode": "for swarm",
    "placement": "for swarm",
    "rollback_config": "for swarm",
    "update_config": "for swarm",
}

TOP_IGNORED = {
    "version": "obsolete: docker compose ignores it too",
    "name": "used before, for the project's name",
    "include": "used before, when files are read",
    "models": "used by services with `models`, which are refused",
}
TOP_KNOWN = ("services", "networks", "volumes", "secrets", "configs")
