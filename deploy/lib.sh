# shellcheck shell=bash
# lib.sh - what quickstart and tests/run share: output, packages, builds.  Sourced, not run.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
else
    BOLD='' DIM='' RED='' GREEN='' PLAIN=''
fi

say() { printf '%s\n' "$*"; }
step() { printf '\n%s== %s%s  %s(%ss)%s\n' "$BOLD" "$*" "$PLAIN" "$DIM" "$SECONDS" "$PLAIN"; }
good() { printf '   %sok%s  %s\n' "$GREEN" "$PLAIN" "$*"; }
die() {
    printf '%serror:%s %s\n' "$RED" "$PLAIN" "$*" >&2
    exit 1
}

# Runs a command quietly; its output is shown only when it fails.  quietly WHAT COMMAND...
quietly() {
    local what=$1 log rc=0
    shift
    log=$(mktemp)
    "$@" >"$log" 2>&1 || rc=$?
    if [ "$rc" -ne 0 ]; then
        tail -n 60 "$log" >&2
        rm -f "$log"
        die "$what failed (exit code $rc)"
    fi
    rm -f "$log"
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo --preserve-env=DEBIAN_FRONTEND,http_proxy,https_proxy "$@"
    else
        die "installing packages needs root or sudo: $*"
    fi
}

# The packages of the groups that are not there yet.  missing_packages GROUP...
missing_packages() {
    local group='' line package command wanted=" $* "
    while read -r line; do
        case $line in
        '' | '#'*) continue ;;
        '['*']') group=${line:1:-1} ;;
        *)
            [[ $wanted == *" $group "* ]] || continue
            package=${line%%:*} command=${line#*:}
            [ "$command" != "$line" ] && command -v "$command" >/dev/null && continue
            dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || echo "$package"
            ;;
        esac
    done <"$REPO/deploy/packages.txt" | sort -u
}

# Installs what the groups of packages.txt lack.  need_packages GROUP...
need_packages() {
    local missing
    mapfile -t missing < <(missing_packages "$@")
    [ "${#missing[@]}" -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "not a Debian system: please install by hand: ${missing[*]}"
    say "   installing ${#missing[@]} Debian packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    quietly "apt-get update" as_root apt-get -qq -o DPkg::Lock::Timeout=120 update
    quietly "apt-get install" as_root apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=120 \
        -o Dpkg::Options::=--force-confdef install "${missing[@]}"
}

# Configures and builds one CMake preset into its directory.  build_preset PRESET
build_preset() {
    local preset=$1 dir=$REPO/build-$1
    [ "$preset" = release ] && dir=$REPO/build
    quietly "configuring the $preset build" cmake -S "$REPO" --preset "$preset" -B "$dir"
    quietly "the $preset build" cmake --build "$dir"
}

# Where racks live when nobody says: short, since it ends up in the names of Unix sockets.
default_rack_dir() { printf '%s/memlane-rack\n' "${XDG_RUNTIME_DIR:-/tmp}"; }

# The comment at the top of the script that runs, and the end.
print_help() {
    sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
    exit 0
}
