"""Keep `-a` and `clean -cache` from a go that make or a script calls: a wrapper, first in PATH for one `RUN`.

`-a` compiles everything again at each save, including what go's cache has: with it the cache does not help,
and the Dockerfile does not show it. In a call in the Dockerfile an edit removes the flag. In a Makefile or a
script only a wrapper can. The wrapper is in the mount of the build cache, in no layer, and is added where a
file of the tree can pass the flag to go. What is built is the same: go's cache is asked by content. `go clean
-cache` there would empty the cache that the next build lives on, and takes nothing out of a layer.
"""

from __future__ import annotations

import hashlib
import json

from watcher.dockerfile.go_commands import HEREDOC_ALONE
from watcher.dockerfile.model import Instruction
from watcher.dockerfile.spans import Edit

# Flags of `go build` that take the next word as their value (`go help build`).
_VALUED = (
    "o p C asmflags buildmode compiler covermode coverpkg gccgoflags gcflags installsuffix ldflags mod"
    " modfile overlay pgo pkgdir tags toolexec"
)
# It must contain no single quotation mark. It removes its own folder from PATH to find the real go. Its
# variables have names that no environment uses.
WRAPPER = f"""\
#!/bin/sh
_wd=${{0%/*}} _wp=:$PATH:
case $_wp in *":$_wd:"*) PATH=${{_wp%%":$_wd:"*}}:${{_wp#*":$_wd:"}} PATH=${{PATH#:}} PATH=${{PATH%:}} ;; esac
case $1 in
    build | install) ;;
    clean)
        _wk=
        for _wa in "$@"; do
            case $_wa in
                clean | -cache | --cache | -testcache | --testcache) ;;
                -modcache | --modcache | -fuzzcache | --fuzzcache) _wk="$_wk $_wa" ;;
                *) exec go "$@" ;;
            esac
        done
        case " $* " in *" -cache "* | *" --cache "*) ;; *) exec go "$@" ;; esac
        [ "$_wk" ] || exit 0
        exec go clean $_wk
        ;;
    *) exec go "$@" ;;
esac
_ws=$1 _wf=1
shift
_wn=$#
while [ "$_wn" -gt 0 ]; do
    _wa=$1 _wn=$((_wn - 1))
    shift
    if [ "$_wf" ]; then
        case $_wa in
            -a | --a | -a=true | --a=true | -a=1 | --a=1) continue ;;
            {" | ".join(f"-{name} | --{name}" for name in _VALUED.split())})
                if [ "$_wn" -gt 0 ]; then
                    set -- "$@" "$_wa"
                    _wa=$1 _wn=$((_wn - 1))
                    shift
                fi
                ;;
            -*) ;;
            *) _wf= ;;
        esac
    fi
    set -- "$@" "$_wa"
done
case " $GOFLAGS " in *" -a "* | *" --a "* | *" -a=true "*) set -- -a=false "$@" ;; esac
exec go "$_ws" "$@"
"""


def without_a(one: Instruction, cache: str, where: str) -> Edit:
    """Have the commands of this RUN find the wrapper as `go`; `where` names what can call it with `-a`."""
    folder = f"{cache}/watcher-go-{hashlib.sha256(WRAPPER.encode()).hexdigest()[:8]}"
    lines = " ".join(f"'{line}'" for line in WRAPPER.splitlines())  # the Dockerfile keeps its number of lines
    make = f"mkdir -p {folder} && printf '%s\\n' {lines} >{folder}/go.$$"
    put = f"[ -x {folder}/go ] || {{ {make} && chmod 755 {folder}/go.$$ && mv {folder}/go.$$ {folder}/go; }}"
    text = f'{{ {put}; }} 2>/dev/null || :; [ ! -x {folder}/go ] || export PATH="{folder}:$PATH"; '
    reason = (
        f"{where} may give go -a, or empty its cache: go build and go install do without the flag, because "
        "the cache knows what is old, and the cache stays"
    )
    return before_all(one, text, reason)


def before_all(one: Instruction, text: str, reason: str) -> Edit:
    """Put shell text before all that a RUN does."""
    if one.words is not None:
        start = one.body.text.index('"') if '"' in one.body.text else 0
        script = json.dumps(f'{text}exec "$@"')
        at = one.body.offset(start)
        return Edit(at, at, f'"/bin/sh", "-c", {script}, "sh", ', reason)
    script_is_heredoc = len(one.heredocs) == 1 and HEREDOC_ALONE.fullmatch(one.body.text)
    body = one.heredocs[0].content if script_is_heredoc else one.body
    start = body.text.find("\n") + 1 if body.text.startswith("#!") else 0
    at = body.offset(start)
    return Edit(at, at, text, reason)
