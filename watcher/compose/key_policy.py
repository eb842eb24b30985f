"""List the keys of a service that are ignored or refused, each with its reason.

`service.py` reads the other known keys. Unknown keys are refused.
"""

from __future__ import annotations

IGNORED = {
    "attach": "selects the logs that `compose up` prints",
    # Its `ignore` lists affect `compose watch` only; `watch.ignore` excludes files from the scan.
    "develop": "configures `compose watch`, which this daemon replaces",
    "extends": "applied earlier, when definitions are merged",
    "profiles": "applied earlier: decides whether the service is active",
}

REFUSED = {
    "cpu_count": "it is for Windows only",
    "cpu_percent": "it is for Windows only",
    "credential_spec": "it is for Windows only",
    "models": "models are not started",
    "pre_start": "containers that run before the start are not created",
    "provider": "the service is run by a program outside of the engine",
    "umask": "the engine sets the umask of every container",
    "use_api_socket": "the engine's socket is not handed to containers; mount it as a volume if you mean it",
}

# Docker compose uses resources, restart_policy and replicas of `deploy`; the rest is for swarm.
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
    "name": "applied earlier: the name of the project",
    "include": "applied earlier, when files are read",
    "models": "used by services with `models`, which are refused",
    "jobs": "reported: NOT_RUN",
}
NOT_RUN = {"jobs": "the watcher runs services only; start a job with docker compose"}
TOP_KNOWN = ("services", "networks", "volumes", "secrets", "configs")
