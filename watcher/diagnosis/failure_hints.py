"""Give hints for failed builds, from the messages of the tools. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from watcher import regex

_FROM = regex.compile(r"\b(?:COPY|ADD) .*?--from=(\S+)")
_URL = regex.compile(r"(?:^|\bADD (?:.* )?)(https?://\S+|git@\S+)")
_UNREACHED = regex.compile(
    r"dial (?:tcp|udp)|i/o timeout|no such host|[Tt]emporary failure in name resolution|server misbehaving"
    r"|[Nn]etwork is unreachable|[Cc]ould ?n[o']t resolve|TLS handshake timeout|connection refused"
)
_REFUSED = regex.compile(r"(?i)denied|unauthori[sz]ed|authentication required|no basic auth|403 forbidden")
_ABSENT = regex.compile(r"(?i)not found|manifest unknown|does not exist|404")
_NO_PLATFORM = regex.compile(r"no match(?:ing manifest)? for")
# Steps that only pull an image, and the errors that name no step; the messages differ between versions.
_PULL_STEP = regex.compile(
    r"load metadata for |resolve image config for |failed to resolve source metadata for |(?:^|\] )FROM "
)
_FETCHED = regex.compile(r"load metadata for|failed to resolve|pull access denied|failed to authorize")
_FRONTEND = regex.compile(r"resolve image config for|docker/dockerfile|frontend image|syntax=")
_GO = regex.compile(
    r"\bgo: |go: downloading|GOPROXY|proxy\.golang\.org|/@v/|\bgo (?:mod|get|build|install|run)\b"
)
_AGAIN = "; `watcher rebuild` tries again without a save"


def build_hint(step: str, reason: str, lines: Sequence[str] = ()) -> str:
    """Return a hint of one sentence, or an empty string."""
    text = "\n".join((reason, *lines))
    if _FRONTEND.found(f"{step}\n{reason}") and (_FETCHED.found(text) or _UNREACHED.found(text)):
        return (
            "the frontend of the `# syntax` line could not be pulled: without that line, BuildKit uses its "
            f"built-in frontend{_AGAIN}"
        )
    if (found := _URL.search(step)) and (_UNREACHED.found(text) or _ABSENT.found(text)):
        return f"{found[1]} could not be fetched: check the address and the network{_AGAIN}"
    if _FETCHED.found(text):
        return image_hint(text)
    if "not found" in reason and ("cache key" in reason or "failed to walk" in reason or "stat" in reason):
        if found := _FROM.search(step):
            return f"{found[1]} does not contain this path: check what it builds, and the spelling"
        return "a COPY names a file that is not in the build context: check the path and .dockerignore"
    if (hint := _git_hint(text)) or (hint := _module_hint(text)):
        return hint
    if _UNREACHED.found(text):
        if _GO.found(f"{step}\n{text}"):
            return f"the build could not reach the network: modules need a Go module proxy (GOPROXY){_AGAIN}"
        remedy = "check the connection, and the build arguments for a proxy"
        return f"the step could not reach the network: {remedy}{_AGAIN}"
    if "no space left on device" in text:
        return (
            "the engine's disk is full: `watcher prune --dry-run` and `docker system df` show what fills it, "
            "`watcher rebuild` builds again"
        )
    return ""


def is_final_refusal(why: str) -> bool:
    """Return whether a registry refused a pull for good: without another name, login or image."""
    refused = _REFUSED.found(why) or _ABSENT.found(why) or _NO_PLATFORM.found(why)
    return not _UNREACHED.found(why) and refused


def is_registry_trouble(step: str, why: str) -> bool:
    """Return whether a build step failed because a registry did not give an image, and may do so later.

    `why` is BuildKit's error. A step of the Dockerfile that itself uses the network is no such step.
    """
    return (_PULL_STEP.found(step) or _PULL_STEP.found(why)) and not is_final_refusal(why)


def image_hint(why: str) -> str:
    """Return a hint for an image that could not be pulled; `why` is the error."""
    if _UNREACHED.found(why):
        return "check the network and the name of the registry; `docker pull` shows the same error"
    if _REFUSED.found(why):
        return f"check the name and, if the image is private, `docker login`{_AGAIN}"
    if _ABSENT.found(why):
        return "check the name and the tag: the registry has no such image"
    return "check the name, the network and `docker login`; `docker pull` shows the same error"


def _git_hint(text: str) -> str:
    if "error obtaining VCS status" in text or "detected dubious ownership" in text:
        return (
            "git refuses the repository of another user: run `git config --global --add safe.directory '*'` "
            "before, or use go build -buildvcs=false"
        )
    if "not a git repository" in text:
        return (
            'there is no .git in the build context: watch.ignore = ["!**/.git"] includes it, '
            "unless the ignore file excludes it too"
        )
    if "git: not found" in text or 'exec: "git"' in text or "git: command not found" in text:
        return "the image of this step has no git: install it, or use a base image with git"
    return ""


def _module_hint(text: str) -> str:
    if "missing go.sum entry" in text or "updates to go.mod needed" in text:
        return "run `go mod tidy` and save go.mod and go.sum"
    return ""
