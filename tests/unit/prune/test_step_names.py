"""Names of build steps without what acceleration added."""

from __future__ import annotations

import pytest

from watcher.prune.step_names import describe_step

CACHES = (
    "--mount=type=cache,sharing=shared,id=p-3a094a37b3-gocache,target=/root/.cache/go-build "
    "--mount=type=cache,sharing=shared,id=p-3a094a37b3-gomodcache,target=/go/pkg/mod "
)
RESTORE = "{ if [ -f /c/watcher-p ]; then cp -p /c/watcher-p app || rm -f app; fi; :; } >/dev/null 2>&1 && "


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (f"[builder 5/5] RUN {CACHES}{RESTORE}go build -o app .", "[builder 5/5] RUN go build -o app ."),
        (f"[builder 3/5] RUN {CACHES}go mod download", "[builder 3/5] RUN go mod download"),
        (f"mount / from exec /bin/sh -c {RESTORE}go build -o app .", "RUN go build -o app ."),
        ("[2/3] COPY . .", "[2/3] COPY . ."),
        (
            "[b 2/3] RUN --mount=type=cache,target=/root/.cache make && { a; } >/dev/null 2>&1 && b",
            "[b 2/3] RUN --mount=type=cache,target=/root/.cache make && { a; } >/dev/null 2>&1 && b",
        ),
        (
            f"[stage-0 2/2] RUN {CACHES}du -sk /watcher-caches/* # f3",
            "a step of the watcher that measures or trims the Go caches",
        ),
    ],
)
def test_a_step_is_named_by_the_users_line(name: str, shown: str) -> None:
    assert describe_step(name) == shown
