#!/bin/sh
# What `make` needs from the system: as root through apt, else one line that says what is missing.
#
#   bootstrap.sh venv PYTHON DIR       a virtual environment of a Python that is new enough
#   bootstrap.sh need COMMAND PKG...   fail without COMMAND
#   bootstrap.sh want COMMAND PKG...   install if possible; go on without (its tests are skipped with that reason)
#   bootstrap.sh peers                 every peer of `make test-all`
set -eu

say() { printf 'wattlens: %s\n' "$*" >&2; }
have() { command -v "$1" >/dev/null 2>&1; }

apt_install() {
    [ "$(id -u)" = 0 ] && have apt-get || return 1
    export DEBIAN_FRONTEND=noninteractive
    say "installing with apt-get: $*"
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 && return 0
    apt-get update -qq >/dev/null 2>&1 || true
    apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

need() {
    command=$1
    shift
    have "$command" && return 0
    apt_install "$@" && have "$command" && return 0
    say "'$command' is missing; install it as root with: apt-get install $*"
    exit 1
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

newer_python() {
    for candidate in python3.13 python3.12 python3.11; do
        ! new_enough "$candidate" || { echo "$candidate"; return 0; }
    done
    return 1
}

make_venv() {
    python=$1 dir=$2
    if ! have "$python"; then
        case $python in
            python3) need python3 python3 python3-venv ;;
            *) say "there is no '$python'; name another with: make PYTHON=/path/to/python3.11"; exit 1 ;;
        esac
    fi
    if ! new_enough "$python" && [ "$python" = python3 ]; then
        # Ubuntu 22.04: its default is 3.10, and its archive also has 3.11
        python=$(newer_python) || { apt_install python3.11 python3.11-venv && python=$(newer_python); } || python=python3
    fi
    if ! new_enough "$python"; then
        say "Python 3.11 or newer is required, $python is $("$python" -c 'import platform; print(platform.python_version())');" \
            "name another with: make PYTHON=/path/to/python3.11"
        exit 1
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
        apt_install "$version" || apt_install python3-venv || true
        if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
            say "ensurepip is missing from $python; install it as root with: apt-get install $version"
            exit 1
        fi
    fi
    fresh=yes
    [ ! -e "$dir" ] || fresh=no
    if ! "$python" -m venv "$dir" >/dev/null; then
        [ $fresh = no ] || rm -rf "$dir" # half an environment would pass for a whole one the next time
        say "$python could not make the virtual environment $dir"
        exit 1
    fi
}

# A command, or a file by its path, and the packages that bring it.
want() {
    wanted=$1
    shift
    have "$wanted" && return 0
    [ "${wanted#/}" = "$wanted" ] || [ ! -e "$wanted" ] || return 0
    apt_install "$@" && return 0
    say "'$wanted' is not installed (apt-get install $*); tests that need it are skipped"
}

peers() {
    want prometheus prometheus
    want victoria-metrics victoria-metrics
    want dockerd docker.io
    want docker docker-cli
    want /usr/libexec/docker/cli-plugins/docker-compose docker-compose
    want /usr/libexec/docker/cli-plugins/docker-buildx docker-buildx
    want mmdebstrap mmdebstrap
    want kustomize kustomize
    want containerd containerd runc
    want /usr/lib/cni/loopback containernetworking-plugins # which docker.io does not bring, as it brings containerd
    want etcd etcd-server
    want shellcheck shellcheck
    want curl curl
    want iptables iptables
    want ipmi_sim openipmi
    want ipmitool ipmitool
    want snmpd snmpd
    want slurmctld slurm-wlm munge # both daemons: slurmd is also a package of its own
    want slurmdbd slurmdbd mariadb-server
    want tmux tmux
    want java default-jre-headless
    want systemd-analyze systemd
    want chromium chromium
    want npm nodejs npm
    want pdftotext poppler-utils
    want /usr/share/fonts/opentype/noto fonts-noto-cjk
}

action=${1:-}
[ $# = 0 ] || shift
case $action in
    venv) make_venv "$@" ;;
    need) need "$@" ;;
    want) want "$@" ;;
    peers) peers ;;
    *) say "bootstrap.sh: unknown action '$action'; there are: venv need want peers"; exit 2 ;;
esac
