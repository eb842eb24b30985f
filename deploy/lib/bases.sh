# The base images golang:alpine and alpine: those that are here, else pulled, else placeholder images (deploy/bases).
# shellcheck shell=sh

bases_ready() {
    kinds=$(docker image inspect -f '{{index .Config.Labels "watcher.stand-in.recipe"}}.' golang:alpine alpine 2>/dev/null || true)
    recipe=$("$root/deploy/bases/make" --recipe)
    case $(echo "$kinds" | tr -d '\n') in
        "..") return ;; # both are real
        "$recipe.$recipe.") ;;
        *)
            for image in golang:alpine alpine; do
                docker image inspect "$image" >/dev/null 2>&1 || pull "$image" || break
            done
            "$root/deploy/bases/make" || exit
            ;;
    esac
    if docker image inspect -f '{{index .Config.Labels "watcher.stand-in"}}' golang:alpine alpine | grep -q true; then
        say "NOTE: base images here are PLACEHOLDERS, not the real golang:alpine and alpine. Where a registry can be reached,"
        say "NOTE: get the real ones with: docker pull golang:alpine && docker pull alpine"
    fi
}

pull() { # IMAGE: gives up at a "no", or when no registry has answered after 15 s; a download that runs may take 15 min
    say "pulling $1"
    log=$(mktemp)
    docker pull "$1" >"$log" 2>&1 </dev/null 9>&- &
    puller=$!
    tries=0
    while kill -0 "$puller" 2>/dev/null; do
        tries=$((tries + 1))
        if [ "$tries" -ge 4500 ] || { [ "$tries" -ge 75 ] && ! grep -q 'Pulling from' "$log"; }; then
            kill "$puller" 2>/dev/null
            echo "no answer in time" >>"$log"
        fi
        sleep 0.2
    done
    if wait "$puller"; then
        rm -f "$log"
        return
    fi
    say "no registry gave $1: $(tail -n 1 "$log")"
    rm -f "$log"
    return 1
}
