# Programs that only the tests use, unpacked from Debian's packages into .venv/tools: nothing is installed, no service starts.
# shellcheck shell=sh

tools=$root/.venv/tools

tools_ready() {
    PATH=$tools/usr/bin:$PATH
    export PATH
    has promtool && has prometheus || unpack "the rules and alerts are tested with promtool" prometheus
    browser_ready
    compose_ready
    has openssl || apt_install "the tests make certificates" openssl
}

browser_ready() {
    why="the status page is tried in a real browser"
    has chromium || has google-chrome || [ -x "$(browser_of_playwright)" ] && return
    if has apt-cache && apt-cache show chromium 2>/dev/null | grep -q '^Version: [0-9]'; then
        apt_install "$why" chromium fonts-dejavu-core
    else # Ubuntu's package of that name only leads to a snap
        say "$why: installing Chromium with playwright"
        as_root "$python" -P -m playwright install-deps chromium >&2 && "$python" -m playwright install chromium >&2 ||
            fail "$why: playwright install chromium failed (see above); install chromium by hand."
    fi
}

browser_of_playwright() {
    "$python" -c 'from playwright.sync_api import sync_playwright as p
with p() as found: print(found.chromium.executable_path)'
}

compose_ready() { # Debian stable has no docker compose of today; the tests beside it say when it is not there
    if has docker-compose || [ -x "$tools/usr/bin/docker-compose" ] || ! site=$(debian_archive); then
        return
    fi
    say "the container is looked at with docker compose: unpacking that of Debian testing into .venv/tools"
    folder=$(mktemp -d)
    mkdir -p "$folder/lists/partial" "$tools/usr/bin"
    echo "deb $site testing main" >"$folder/sources.list"
    set -- -qq -o "Dir::Etc::SourceList=$folder/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o "Dir::State::Lists=$folder/lists" -o "Dir::Cache=$folder" -o Acquire::Check-Valid-Until=false
    if (cd "$folder" && apt-get "$@" update && apt-get "$@" download docker-compose) >"$folder/log" 2>&1 9>&- &&
        dpkg-deb -x "$folder"/docker-compose_*.deb "$tools"; then
        ln -sf ../libexec/docker/cli-plugins/docker-compose "$tools/usr/bin/docker-compose"
    else
        say "it could not be had ($(grep '^E:' "$folder/log" | head -n 1)): those tests are skipped"
    fi
    rm -rf "$folder"
}

unpack() { # WHY PACKAGE: a package whose programs need nothing but the C library
    has apt-get || fail "$1: install $2 by hand, this is not Debian or Ubuntu."
    say "$1: unpacking Debian's $2 into .venv/tools"
    folder=$(mktemp -d)
    if (cd "$folder" && { apt-get -qq download "$2" || { as_root apt-get -qq update && apt-get -qq download "$2"; }; }) >"$folder/log" 2>&1 9>&-; then
        mkdir -p "$tools"
        dpkg-deb -x "$folder/$2"_*.deb "$tools"
        rm -rf "$folder"
    else
        reason=$(grep '^E:' "$folder/log" | head -n 1)
        rm -rf "$folder"
        fail "$1: apt-get download $2 failed (${reason:-no reason given}); repair that and start again."
    fi
}
