# Go on this machine, for tests and measurements that compile without the engine: the installed one, else the base image's.
# shellcheck shell=sh

find_go() { # puts a Go that can compile the example on PATH
    for folder in '' /usr/local/go/bin "$root/.venv/go/bin"; do
        if go=$(PATH=${folder:-$PATH} command -v go) && new_enough "$go"; then
            PATH=$(dirname "$go"):$PATH
            export PATH
            return
        fi
    done
    return 1
}

new_enough() { # GO: is it at least what the example's go.mod asks for?
    wanted=$(awk '$1 == "go" { print $2 }' "$root/examples/go-server/go.mod")
    have=$(cd / && GOTOOLCHAIN=local "$1" env GOVERSION 2>/dev/null) || return 1
    have=${have#go}
    [ "$(printf '%s\n%s\n' "$wanted" "${have%% *}" | sort -V | head -n 1)" = "$wanted" ]
}

go_ready() {
    if find_go; then
        return
    fi
    say "no Go $(awk '$1 == "go" { print $2 }' "$root/examples/go-server/go.mod") or newer here: taking it from golang:alpine into .venv/go"
    container=$(docker create golang:alpine) || fail "golang:alpine could not be opened; install Go by hand."
    rm -rf "$root/.venv/go"
    docker cp "$container:/usr/local/go" "$root/.venv/go" >/dev/null 2>&1 || say "Go could not be copied out of golang:alpine"
    docker rm "$container" >/dev/null
    find_go || fail "the Go of golang:alpine does not run here; install Go by hand."
}
