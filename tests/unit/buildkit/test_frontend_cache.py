"""When the frontend's result of one build is reused in the next."""

from __future__ import annotations

import pytest

from watcher.buildkit.frontend_cache import FrontendCache, FrontendResult
from watcher.buildkit.messages.llb_pb2 import Definition, ExecOp, Op, SourceOp


def result(*sources: str) -> FrontendResult:
    attrs = {"local.session": "first"}
    ops = [Op(source=SourceOp(identifier=each, attrs=attrs)).SerializeToString() for each in sources]
    return FrontendResult(Definition(ops=[*ops, Op(exec=ExecOp()).SerializeToString()]), {"config": b"x"})


@pytest.mark.parametrize(
    ("sources", "reusable"),
    [
        (("docker-image://docker.io/library/a:b", "local://context"), True),
        (("local://context", "https://example.test/a"), False),
        (("local://context", "git://example.test/a.git"), False),
        (("oci-layout://a",), False),
        ((), False),
    ],
)
def test_only_what_reads_the_contexts_and_images_is_reused(sources: tuple[str, ...], reusable: bool) -> None:
    assert result(*sources).is_reusable is reusable
    cache = FrontendCache()
    cache.store("key", result(*sources))
    assert (cache.find("key", "second") is not None) is reusable


def test_a_result_is_found_by_its_key_and_reads_from_the_new_session() -> None:
    cache = FrontendCache()
    assert cache.find("key", "second") is None
    cache.store("key", result("local://context"))
    assert cache.find("other", "second") is None
    assert cache.find(None, "second") is None
    found = cache.find("key", "second")
    assert found
    assert found.metadata == {"config": b"x"}
    assert Op.FromString(found.definition.ops[0]).source.attrs["local.session"] == "second"


def test_a_build_without_a_key_leaves_the_result_and_another_key_replaces_it() -> None:
    cache = FrontendCache()
    cache.store("key", result("local://context"))
    cache.store(None, result("local://other"))
    assert cache.find("key", "second")
    cache.store("other", result("https://example.test/a"))
    assert cache.find("key", "second") is None
    assert cache.find("other", "second") is None
    cache.store("key", result("local://context"))
    cache.clear()
    assert cache.find("key", "second") is None
