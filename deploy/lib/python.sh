# The Python environment: .venv, filled from requirements-dev.lock, made anew only when the lock changed.
# shellcheck shell=sh

python=$root/.venv/bin/python

find_python() { # prints a Python that is new enough and can make an environment
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if has "$candidate" && "$candidate" -I -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

python_ready() {
    stamp=$root/.venv/.lock-sum
    sum=$(sha256sum <"$root/requirements-dev.lock")
    [ ! -x "$python" ] || [ ! -e "$stamp" ] || [ "$(cat "$stamp")" != "$sum" ] || return 0

    if [ ! -x "$python" ]; then
        if ! base=$(find_python); then
            apt_install "Python 3.11 or newer is needed" python3 python3-venv
            base=$(find_python) ||
                fail "Python 3.11 or newer is needed and apt gave $(python3 -V 2>&1); install a newer one and put it on PATH."
        fi
        "$base" -m venv --clear "$root/.venv" >&2 || fail "no environment could be made in $root/.venv; see above."
    fi
    say "installing the Python packages of requirements-dev.lock into .venv"
    # settings that would send packages elsewhere or add conditions; certificates, proxies and indexes are left as they are
    unset PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_CONSTRAINT PIP_REQUIREMENT PIP_DRY_RUN PIP_REQUIRE_HASHES
    "$python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$root/requirements-dev.lock" >&2 &&
        "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e "$root" >&2 ||
        fail "the Python packages could not be installed (see above); check the network and start again."
    echo "$sum" >"$stamp"
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
