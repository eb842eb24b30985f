"""Certificates for a buildkitd, and which BuildKit the settings mean."""

from pathlib import Path
from typing import Any

import pytest

from tests.fake_engine import FakeEngine
from watcher.build import certificates
from watcher.errors import ConfigError
from watcher.project import link_of
from watcher.settings import load

CERTIFICATES = Path(__file__).parents[2] / "certificates"


class Engine(FakeEngine):
    endpoint = "unix:///engine.sock"

    def tls(self) -> None:
        return None


def test_the_engines_own_buildkit_is_used_unless_another_is_named(tmp_path: Path) -> None:
    engine: Any = Engine()
    assert not link_of(load(project=tmp_path), engine).standalone
    build = {"buildkit": "tcp://build.test:1234", "buildkit_certs": CERTIFICATES}
    assert link_of(load(project=tmp_path, build=build), engine).standalone


def test_certificates_are_read_or_named(tmp_path: Path) -> None:
    assert certificates(None) is None
    made = certificates(CERTIFICATES)
    assert made is not None
    assert made.check_hostname
    assert certificates(CERTIFICATES) is not made  # each connection changes its own
    with pytest.raises(ConfigError, match=r"^build\.buildkit_certs = .*must hold ca.pem, cert.pem and key"):
        certificates(tmp_path)


@pytest.mark.parametrize(
    "address", ["/run/buildkitd.sock", "ssh://host", "unix://relative", "docker-container://x"]
)
def test_an_address_that_cannot_be_used_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match=r"^build\.buildkit"):
        load(project=tmp_path, build={"buildkit": address})
