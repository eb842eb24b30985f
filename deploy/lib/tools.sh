# Programs that only the tests use, unpacked from Debian's packages into .venv/tools: nothing is installed, no service starts.
# shellcheck shell=sh

tools=$root/.venv/tools

tools_ready() {
    PATH=$tools/usr/bin:$PATH
    export PATH
    has promtool && has prometheus || unpack "the rules and alerts are tested with promtool" prometheus
    has openssl || apt_install "the tests make certificates" openssl
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
