"""Review a service's Dockerfile and build context, with what the compose file says of the service."""

from __future__ import annotations

from collections.abc import Mapping

from watcher.builder import Recipe
from watcher.cli.doctor.context import judge_context, read_context
from watcher.cli.doctor.findings import Finding, Grade
from watcher.cli.doctor.go_needs import find_needs
from watcher.compose import ComposeProject, ServiceSpec, find_jobs
from watcher.dockerfile import ImageConfig, Platforms, ReviewInput, find_context_copies, review
from watcher.tree import Snapshot


def review_service(
    spec: ServiceSpec,
    project: ComposeProject,
    recipe: Recipe,
    snapshot: Snapshot,
    *,
    text: str,
    bases: Mapping[str, ImageConfig | None],
    platforms: Platforms,
) -> list[Finding]:
    """Return what is found in the Dockerfile `text` and in the context. Blocks. Raises DockerfileError."""
    zones, client = find_needs(snapshot) if "scratch" in text else ("", "")
    services = project.services.values()
    built = {each.image for each in services if each.build}
    given = ReviewInput(
        build_args=recipe.build_args,
        target=recipe.target,
        platforms=platforms,
        bases={**bases, **{name: bases.get(image) for name, image in recipe.images.items()}},
        given_images=frozenset({*recipe.images, *recipe.contexts, *built}),
        files=frozenset(snapshot.files),
        runs=recipe.runs,
        user=spec.user,
        health=spec.healthcheck.test or None if spec.healthcheck else None,
        has_ports=bool(spec.ports or spec.expose) and spec.name not in find_jobs(services),
        waiting=tuple(
            each.name
            for each in services
            for name, needed in each.depends_on.items()
            if name == spec.name and needed.condition == "service_healthy" and needed.required
        ),
        needs_zones=zones,
        needs_certificates=client,
    )
    found = [
        Finding(recipe.dockerfile, Grade(each.severity), each.evidence, each.remedy)
        for each in review(text, given)
    ]
    copies = find_context_copies(text, given)
    if copies:
        ignore = None if snapshot.ignore_file is None else snapshot.ignore_file[1].decode("utf-8", "replace")
        found += judge_context(read_context(snapshot.base, ignore), copies, ignore)
    return found
