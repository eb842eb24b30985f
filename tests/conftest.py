"""What tests of several folders share."""

import gc
import os
import shutil
import signal
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.leftovers import records_now, remove_all_since
from watcher.buildkit import BuildkitError
from watcher.errors import WatcherError

# The same examples every time, so that a commit which passed passes again, and no deadline, which a busy
# machine would miss. HYPOTHESIS_PROFILE=explore looks for new ones; what it finds becomes an @example.
SLOW = [HealthCheck.too_slow]
settings.register_profile("same", derandomize=True, deadline=None, suppress_health_check=SLOW)
settings.register_profile("explore", max_examples=3000, deadline=None, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


# A run in the background may have been started with these ignored, and children would inherit that.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# What daemons remember of their builds goes with the tests.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="watcher-tests-")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One place for all projects that are compiled, one after the other: the caches are warm but once."""
    return tmp_path_factory.mktemp("e2e") / f"e2e-{uuid.uuid4().hex[:8]}"


def pytest_collection_finish() -> None:
    """Leave thousands of collected tests out of each garbage collection that follows."""
    gc.collect()
    gc.freeze()


_CACHE = pytest.StashKey[frozenset[str]]()
_TOLD = pytest.StashKey[str]()


@pytest.fixture(scope="session", autouse=True)
def build_cache_before(request: pytest.FixtureRequest) -> None:
    """Remember what the engine's build cache held before the first test that may build."""
    session = request.session
    if any(item.get_closest_marker(name) for item in session.items for name in ("engine", "e2e")):
        session.stash[_CACHE] = records_now()


# Not a fixture's end: that would count as a part of the last test, which has a time limit.
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Remove the build cache that the tests added, on any ending but a killed process."""
    shutil.rmtree(os.environ["XDG_STATE_HOME"], ignore_errors=True)
    before = session.stash.get(_CACHE, None)
    if before is None:
        return
    try:
        gone = remove_all_since(before)
    except (WatcherError, BuildkitError) as error:
        told = f"the tests' build cache stays at the engine: {error}"
    else:
        told = f"the tests' build cache was removed: {gone.records} records, {gone.size / 1e9:.1f} GB"
    session.config.stash[_TOLD] = told


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    """Say what became of the build cache."""
    if told := config.stash.get(_TOLD, ""):
        terminalreporter.write_line(told)
