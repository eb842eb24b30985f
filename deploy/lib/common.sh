# Small words that ./dev and its parts use. Sourced; $root is the project's folder.
# shellcheck shell=sh

say() { echo "dev: $*" >&2; }

fail() {
    say "$*"
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

limit() { # SECONDS COMMAND...: ends the command when the time is up
    if has timeout; then
        timeout "$@"
    else
        shift
        "$@"
    fi
}

once() { # FUNCTION...: one set-up at a time, however many ./dev are started; a failure ends this one
    (
        if has flock; then flock 9; fi
        for function; do "$function"; done
    ) 9<"$root/dev" # no `||` after this: it would switch off `set -e` inside
}

step() { # NAME COMMAND...: one check; goes on after a failure and remembers its name in $failed
    name=$1
    shift
    if ! "$@"; then
        say "failed: $name"
        failed="$failed, $name"
    fi
}

debian_archive() { # prints where this machine's apt gets Debian from; fails where it does not
    apt-get indextargets --format '$(REPO_URI)' 2>/dev/null | grep -m 1 '/debian/$'
}

as_root() { # COMMAND...: as root, by sudo where needed
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif ! has sudo; then
        return 1
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

apt_install() { # WHY PACKAGE...
    why=$1
    shift
    has apt-get || fail "$why: install $* by hand, this is not Debian or Ubuntu."
    [ "$(id -u)" = 0 ] || has sudo || fail "$why: ask an administrator for: apt-get install $*"
    say "$why: installing $* with apt"
    log=$(mktemp)
    # --no-remove: never take away what somebody installed, such as another edition of the engine
    if as_root apt-get -qq update >"$log" 2>&1 && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends --no-remove "$@" >>"$log" 2>&1 </dev/null; then
        rm -f "$log"
    else
        reason=$(grep '^E:' "$log" | head -n 1)
        rm -f "$log"
        fail "$why: apt-get install $* failed (${reason:-no reason given}); repair that and start again."
    fi
}
