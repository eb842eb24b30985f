"""Several services of one project: their settings, what they cannot both have, and how `once` ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loaded_settings import load
from tests.unit.daemon.test_service_config import Rig
from watcher import compose
from watcher.daemon.fleet import check_service_settings, count_builds, count_kept_builds
from watcher.daemon.once import FirstOutcomes
from watcher.daemon.recipe import recipe_of
from watcher.daemon.service_config import ServiceConfig, assemble_service
from watcher.daemon.service_conflicts import check_conflicts
from watcher.errors import ConfigError
from watcher.observers.events import RevisionStateChanged


def assemble(root: Path, services: str) -> list[ServiceConfig]:
    file = root / "compose.yaml"
    file.write_text(f"services: {{{services}}}")
    project, settings = compose.load(file, env={}), load(project=root)
    shared = Rig(root).site
    return [assemble_service(shared, spec, project, settings) for spec in project.managed_services]


def test_settings_of_a_service_are_laid_over_those_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "watcher.toml").write_text(
        "[deploy]\nsoak = 1\ndrain = 2\n[build.args]\nA = 'a'\n"
        "[service.web.deploy]\nsoak = 7\n[service.web.build.args]\nB = 'b'\n"
    )
    settings = load(project=tmp_path)
    web, api = settings.for_service("web"), settings.for_service("api")
    assert (web.deploy.soak, web.deploy.drain, web.build.args) == (7, 2, {"A": "a", "B": "b"})
    assert (api.deploy.soak, api.build.args) == (1, {"A": "a"})


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[service.web.deploy]\nsok = 1", r"service\.web\.deploy\.sok = 1: no such setting"),
        ("[service.web.deploy]\nsoak = -1", r"service\.web\.deploy\.soak = -1: "),
        ("[service.web.http]\nport = 1", r"service\.web\.http = .*no such setting"),
        ("[service.web.build]\nparallel = 1", r"build\.parallel is of the whole project"),
        ("[service.web.prune]\ngo_cache_max = 1", r"prune\.go_cache_max is of the whole project"),
        ("[per_service.web.deploy]\nsoak = 1", r"per_service: no such setting"),
    ],
)
def test_what_is_wrong_in_a_section_of_a_service_is_named(tmp_path: Path, text: str, rule: str) -> None:
    (tmp_path / "watcher.toml").write_text(text)
    with pytest.raises(ConfigError, match=rule):
        load(project=tmp_path)


def test_a_section_of_a_service_that_is_not_in_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "watcher.toml").write_text("[service.wbe.deploy]\nsoak = 1\n")
    file = tmp_path / "compose.yaml"
    file.write_text("services: {web: {build: .}, db: {image: db}}")
    with pytest.raises(ConfigError, match=r"service\.wbe: there is no such service .* \(it has web, db\)"):
        check_service_settings(compose.load(file, env={}), load(project=tmp_path))


def test_one_of_the_services_can_be_selected_and_no_other() -> None:
    assert load(services=["a", "b"]).chosen_services == ("a", "b")
    assert load(services=["a", "b"], service="b").chosen_services == ("b",)
    with pytest.raises(ConfigError, match=r"service = 'c': is not one of services \(a, b\)"):
        _ = load(services=["a", "b"], service="c").chosen_services


def test_at_least_two_builds_run_at_once_unless_the_settings_say_otherwise() -> None:
    assert count_builds(load()) >= 2
    assert count_builds(load(build={"parallel": 1})) == 1


def test_each_service_has_its_own_number_of_kept_builds(tmp_path: Path) -> None:
    (tmp_path / "watcher.toml").write_text(
        '[prune]\nkeep = 4\n[service."a.b".prune]\nkeep = 1\n[service.off.prune]\nenabled = false\n'
    )
    file = tmp_path / "compose.yaml"
    file.write_text("services: {a.b: {build: .}, off: {build: .}, web: {build: .}, tool: {image: t}}")
    project = compose.load(file, env={}, services=("a.b", "web"))
    kept = count_kept_builds(project, load(project=tmp_path))
    assert kept == {"a.b": 1, "off": None, "web": 4, "tool": 4}


def test_two_services_cannot_publish_the_same_port(tmp_path: Path) -> None:
    check_conflicts(assemble(tmp_path, "a: {build: ., ports: ['9000:1']}, b: {build: ., ports: ['9001:1']}"))
    with pytest.raises(ConfigError, match=r"services\.b\.ports = '9000': services\.a publishes"):
        check_conflicts(
            assemble(tmp_path, "a: {build: ., ports: ['9000:1']}, b: {build: ., ports: ['9000:2']}")
        )


def test_two_services_share_an_image_only_if_one_build_makes_it(tmp_path: Path) -> None:
    check_conflicts(assemble(tmp_path, "a: {build: ., image: x}, b: {build: ., image: x, command: b}"))
    with pytest.raises(ConfigError, match=r"services\.b\.image = 'x:latest': services\.a builds another"):
        check_conflicts(assemble(tmp_path, "a: {build: ., image: x}, b: {build: {target: t}, image: x}"))


def test_a_change_of_one_service_is_none_of_another(tmp_path: Path) -> None:
    text = "a: {build: .}, b: {build: ., environment: {N: '%s'}, networks: [%s]}"
    before = assemble(tmp_path, text % ("1", "default"))
    after = assemble(tmp_path, text % ("2", "default"))
    assert [one.equals(other) for one, other in zip(before, after, strict=True)] == [True, False]


def test_a_change_of_what_a_service_depends_on_is_its_own(tmp_path: Path) -> None:
    text = "a: {build: ., depends_on: [db]}, db: {image: 'db:%s'}"
    before, after = assemble(tmp_path, text % 1), assemble(tmp_path, text % 2)
    assert not before[0].equals(after[0])


def test_the_recipe_follows_the_settings_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "watcher.toml").write_text("[service.a.build]\ntarget = 'dev'\n")
    file = tmp_path / "compose.yaml"
    file.write_text("services: {a: {build: .}, b: {build: .}}")
    settings, project = load(project=tmp_path), compose.load(file, env={})
    targets = [
        recipe_of(spec, settings.for_service(spec.name), "p", "").target for spec in project.managed_services
    ]
    assert targets == ["dev", None]


def state(service: str, *, live: str | None = None, failed: str | None = None) -> RevisionStateChanged:
    return RevisionStateChanged(service=service, desired="r", live=live, failed=failed, saved_at=0.0)


async def test_once_ends_when_each_service_has_its_outcome() -> None:
    outcomes = FirstOutcomes()
    outcomes.expect({"a": (), "b": ()}, {"a": None, "b": None})
    outcomes.notify(state("a", failed="r"))
    assert not outcomes.reached.done()
    outcomes.notify(state("b", live="r"))
    assert outcomes.reached.done()
    assert outcomes.failed == ("a",)


async def test_once_does_not_wait_for_what_waits_for_a_failed_service() -> None:
    outcomes = FirstOutcomes()
    outcomes.expect(
        {"api": (), "web": ("api",), "page": ("api", "web")}, dict.fromkeys(("api", "web", "page"))
    )
    outcomes.notify(state("api", failed="r"))
    assert outcomes.reached.done()
    assert outcomes.failed == ("api", "web", "page")
    assert [outcomes.find_failed_need(name) for name in ("api", "web", "page")] == ["", "api", "api"]
