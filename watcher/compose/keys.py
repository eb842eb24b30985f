"""The keys of a service that are ignored on purpose or refused, each with its reason.

Everything else is honoured (`service.py`) or unknown, and what is unknown is refused too.
"""

from __future__ import annotations

IGNORED = {
    "attach": "says whose log `compose up` prints",
    "develop": "says what `compose watch` does: this daemon takes its place",
    "extends": "done before, when definitions are merged",
    "profiles": "decides before whether the service is active",
    "pull_refresh_after": "says how old a pulled image may be; what is there is used",
}

REFUSED = {
    "annotations": "engines before 25 drop annotations without a word",
    "blkio_config": "limits for disks are not passed on",
    "cpu_count": "it is for Windows only",
    "cpu_percent": "it is for Windows only",
    "credential_spec": "it is for Windows only",
    "external_links": "links are the old way to find containers: use a network with aliases",
    "gpus": "requests for devices are not passed on",
    "isolation": "it is for Windows only",
    "links": "links are the old way to find containers: services find each other by name",
    "mac_address": "two containers with one address cannot stand side by side",
    "models": "models are not started",
    "post_start": "hooks are not run",
    "pre_start": "hooks are not run",
    "pre_stop": "hooks are not run",
    "provider": "the service is run by a program outside of the engine",
    "umask": "the engine starts every container with its own",
    "use_api_socket": "the engine's socket is not handed to containers; mount it as a volume if you mean it",
    "volumes_from": "volumes of another container are not mounted: name them under volumes",
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
