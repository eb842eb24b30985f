# The Python environment .venv: filled from a lock file by uv, again only when that file changed.
# shellcheck shell=sh

python=$root/.venv/bin/python
uv=$root/.venv/bin/uv

find_python() { # prints a Python that is new enough and can make an environment
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if has "$candidate" && "$candidate" -I -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

run_ready() { # what running needs, and nothing that only tests need
    filled run requirements.lock || {
        environment_ready
        install_locked requirements.lock "what running needs"
        set -- "$root"/.venv/lib/python3*/site-packages
        echo "$root" >"$1/_editable_impl_watcher.pth" # as hatchling names it, which is not needed to run: one replaces the other
        mark run requirements.lock
    }
}

python_ready() { # what tests and checks need too
    filled all requirements-dev.lock || {
        environment_ready
        install_locked requirements-dev.lock "what running, tests and checks need"
        # no isolated build: it would download what is in .venv
        packages --no-deps --no-build-isolation -e "$root"
        mark run requirements.lock # the other lock has the same versions and more
        mark all requirements-dev.lock
    }
}

lock_sum() { { echo "$root" && cat "$root/$1"; } | sha256sum; } # with the folder: a copy of it has to run its own files

filled() { # NAME LOCK
    [ -x "$python" ] && [ "$(cat "$root/.venv/.$1-sum" 2>/dev/null)" = "$(lock_sum "$2")" ]
}

mark() { lock_sum "$2" >"$root/.venv/.$1-sum"; }

environment_ready() {
    # settings that would send packages elsewhere or add conditions; certificates, proxies and indexes are left as they are
    unset PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_CONSTRAINT PIP_REQUIREMENT PIP_DRY_RUN PIP_REQUIRE_HASHES
    unset UV_CONSTRAINT UV_OVERRIDE UV_EXCLUDE UV_BUILD_CONSTRAINT UV_REQUIRE_HASHES UV_NO_BINARY UV_SYSTEM_PYTHON UV_PYTHON
    if [ ! -x "$python" ]; then
        if ! base=$(find_python); then
            apt_install "Python 3.11 or newer is needed" python3 python3-venv
            base=$(find_python) ||
                fail "Python 3.11 or newer is needed and apt gave $(python3 -V 2>&1); install a newer one and put it on PATH."
        fi
        say "making a Python environment in .venv"
        # without pip: installing that takes longer than all else here
        "$base" -m venv --without-pip --clear "$root/.venv" >&2 || fail "no environment could be made in $root/.venv; see above."
    fi
    uv_ready
    as_pip_is_set_up
}

install_locked() { # LOCK WHAT
    say "installing $2 into .venv: $(grep -c '^[a-z]' "$root/$1") Python packages ($1)"
    packages --require-hashes -r "$root/$1"
}

uv_ready() { # sets $uv and $settings; uv installs many packages at once, pip one after the other
    if found=$(command -v uv) && "$found" --version >/dev/null 2>&1; then
        uv=$found
    fi
    if [ -x "$uv" ]; then
        settings=$(by_pip config list 2>/dev/null) || settings=
        return 0
    fi
    wanted=$(mktemp) # the version and hashes of requirements-dev.lock
    sed -n '/^uv==/,/[^\\]$/p' "$root/requirements-dev.lock" >"$wanted"
    settings=$(by_pip config list -- install --quiet --require-hashes -r "$wanted") ||
        say "uv could not be installed (see above); trying with pip alone"
    rm -f "$wanted"
}

packages() { # ARGS of `pip install`
    if [ -x "$uv" ]; then
        # in the project's folder: uv reads settings of the folder one stands in
        (cd "$root" && "$uv" pip install --quiet --python "$python" "$@") >&2 && return
        say "uv could not install the packages (see above); trying with pip"
    fi
    by_pip install --quiet "$@" >&2 || fail "the Python packages could not be installed (see above); check the network and start again."
}

by_pip() { PIP_DISABLE_PIP_VERSION_CHECK=1 "$python" -I "$root/deploy/lib/pip.py" "$@"; }

as_pip_is_set_up() { # uv reads none of pip's settings; what is set for uv stays
    : "${UV_DEFAULT_INDEX:=$(pip_setting index-url)}"
    : "${UV_INDEX:=$(pip_setting extra-index-url)}"
    : "${UV_INSECURE_HOST:=$(pip_setting trusted-host)}"
    : "${SSL_CERT_FILE:=$(pip_setting cert)}"
    : "${ALL_PROXY:=$(pip_setting proxy)}"
    for name in UV_DEFAULT_INDEX UV_INDEX UV_INSECURE_HOST SSL_CERT_FILE ALL_PROXY; do
        eval "[ -n \"\$$name\" ] && export $name || unset $name"
    done
    # several indexes: the hashes say which file is the right one
    export UV_INDEX_STRATEGY=unsafe-best-match
}

pip_setting() { # NAME: of all files and the environment, the one that pip would take
    printf '%s\n' "$settings" | sed -n "s/^[^=]*\.$1='\(.*\)'\$/\1/p" | sed 's/\\n/ /g; s/^ *//' | head -n 1
}

floors() { # tests of what touches the libraries, with the oldest versions that pyproject.toml allows
    lowest=$root/.venv-lowest
    sum=$(cat "$root/requirements-lowest.lock" "$root/pyproject.toml" | sha256sum)
    if [ "$(cat "$lowest/.lock-sum" 2>/dev/null)" != "$sum" ]; then
        say "installing the oldest versions that pyproject.toml allows into .venv-lowest"
        "$root/.venv/bin/uv" venv --quiet --clear --python "$python" "$lowest" >&2 &&
            "$root/.venv/bin/uv" pip install --quiet --python "$lowest/bin/python" --require-hashes -r "$root/requirements-lowest.lock" >&2 &&
            "$root/.venv/bin/uv" pip install --quiet --python "$lowest/bin/python" --no-deps --no-build-isolation -e "$root" >&2 ||
            return 1
        echo "$sum" >"$lowest/.lock-sum"
    fi
    (cd "$root" && "$lowest/bin/python" -m pytest -q -p no:cacheprovider tests/unit -m libraries)
}
