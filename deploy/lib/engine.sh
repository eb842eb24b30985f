# A Docker engine: the one that answers, else Debian's, installed and started.
# shellcheck shell=sh

engine_answers() { limit 10 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

engine_ready() {
    if has docker && engine_answers; then
        return
    fi
    [ -z "${DOCKER_HOST:-}" ] ||
        fail "no Docker engine answers at DOCKER_HOST=$DOCKER_HOST; start it, or unset DOCKER_HOST to use one on this machine."
    [ "$(uname -s)" = Linux ] || fail "no Docker engine answers; start Docker Desktop (or another engine) and try again."
    if has docker; then
        context=${DOCKER_CONTEXT:-$(docker context inspect --format '{{.Name}}' 2>/dev/null || echo default)}
        [ "$context" = default ] ||
            fail "no Docker engine answers in the docker context \"$context\"; start it, or change with: docker context use default"
        check_group
    fi
    if ! has docker || ! dockerd=$(find_dockerd); then
        apt_install "no Docker engine here" docker.io
        dockerd=$(find_dockerd) || fail "docker.io is installed, but without dockerd; install a Docker engine by hand."
    fi
    # the package may have started it already
    engine_answers || start_engine "$dockerd"
}

check_group() {
    if [ -S /var/run/docker.sock ] && [ ! -w /var/run/docker.sock ]; then
        fail "$(id -un) may not use the Docker engine: sudo usermod -aG docker $(id -un), log in again, and start this again."
    fi
}

find_dockerd() { # not always on a user's PATH
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin command -v dockerd
}

start_engine() { # DOCKERD
    [ "$(id -u)" = 0 ] || has sudo ||
        fail "the Docker engine is not running, and only root may start it: ask an administrator for: systemctl start docker"
    if [ -d /run/systemd/system ]; then
        say "starting the Docker engine (systemd)"
        as_root systemctl start docker ||
            fail "systemd could not start the Docker engine; see: journalctl -u docker"
        wait_for_engine || fail "the Docker engine was started by systemd and does not answer; see: journalctl -u docker"
        return
    fi
    log=/var/log/dockerd.log
    say "starting the Docker engine ($1, log in $log)"
    # in a session of its own, so that Ctrl-C here does not end it, and without our lock on descriptor 9
    # shellcheck disable=SC2016  # the inner shell expands
    as_root sh -c 'PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; setsid "$1" >"$2" 2>&1 </dev/null 9>&- & echo $! >"$2.pid"' - "$1" "$log" ||
        fail "the Docker engine could not be started: $1 needs root."
    wait_for_engine "$(cat "$log.pid")" || fail "$(why_not "$log")"
}

wait_for_engine() { # [PID]: until it answers, at most a minute, or until the process is gone
    tries=0
    until engine_answers; do
        tries=$((tries + 1))
        [ "$tries" -lt 300 ] || return 1
        [ "$tries" -lt 10 ] || check_group # its socket belongs to root for a moment
        [ -z "${1:-}" ] || [ -d "/proc/$1" ] || return 1
        sleep 0.2
    done
}

room_ready() { # MEGABYTES WHAT: fails where the engine's disk, if it is of this machine, has less room
    case $(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null) in unix:*) ;; *) return 0 ;; esac
    folder=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null)
    [ -n "$folder" ] && free=$(df -Pm "$folder" 2>/dev/null | awk 'NR == 2 { print $4 }') && [ -n "$free" ] || return 0
    [ "$free" -ge "$1" ] ||
        fail "$2 needs about $1 MB at the Docker engine ($folder), and $free MB are free; make room, for example with: docker builder prune"
}

why_not() { # LOG: one sentence about an engine that does not start
    last=$(grep -ai -e 'failed to start' -e 'error' -e 'fatal' "$1" | tail -n 1 | cut -c1-300)
    case $last in
        *ermission\ denied* | *ot\ permitted* | *iptables* | *cgroup*)
            echo "this machine does not let a Docker engine start (a container or sandbox without the rights for mounts and networks?): run it with those rights (docker run --privileged), or set DOCKER_HOST to an engine elsewhere. It said: $last" ;;
        *) echo "the Docker engine does not start; see $1. It said: ${last:-nothing}" ;;
    esac
}
