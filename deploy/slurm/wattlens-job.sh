#!/bin/sh
# Prolog and Epilog of slurmd (slurm.conf: Prolog=/etc/slurm/wattlens-job.sh and Epilog=/etc/slurm/wattlens-job.sh).
#
# Before a job and after it: no GPU of this node is left with a clock or power limit that nobody holds. The actuator puts settings
# back by itself; this waits for it, and does it where no actuator is alive. After a job: one line in the system log with the joules
# that it used here. A job is never failed for it, unless WATTLENS_DRAIN=yes: then a node that is not as it was found is drained.
#
# /etc/wattlens/slurm.env may set the words below; slurmd gives neither PATH nor anything else.
set -eu
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
# shellcheck source=/dev/null
[ ! -r "${WATTLENS_ENV:=/etc/wattlens/slurm.env}" ] || . "$WATTLENS_ENV"
: "${WATTLENS_BIN:=/opt/wattlens/bin}"                         # where wattlens and its python are
: "${WATTLENS_ACTUATOR_SOCKET:=/run/wattlens/actuator/actuator.sock}"   # as the actuator's --socket
: "${WATTLENS_ACTUATOR_STATE:=/var/lib/wattlens/actuator}"     # as the actuator's --state
: "${WATTLENS_METRICS:=http://127.0.0.1:9479/metrics}"         # the agent's page
: "${WATTLENS_CURL_CONFIG:=/dev/null}"                         # for TLS and credentials: options of curl, in a file of root's
: "${WATTLENS_WAIT_S:=20}"                                     # for settings to be back: a lease ends within 15 s of any death
: "${WATTLENS_SETTLE_S:=2}"                                    # for the agent to read the last of a job
: "${WATTLENS_DRAIN:=no}"

say() { logger --tag wattlens-slurm -- "$*" 2>/dev/null || printf 'wattlens-slurm: %s\n' "$*" >&2; }

# GPUs that are changed and that nobody holds, by UUID; the answer of `wattlens dvfs status --json` comes on standard input.
orphans() {
    "$WATTLENS_BIN/python" -c 'import json, sys
print(*(d["device"] for d in json.load(sys.stdin)["devices"] if d["changed"] and not d["holder"]))'
}

# Wait until every setting is back or somebody's; what is left otherwise.
left_over() {
    [ -S "$WATTLENS_ACTUATOR_SOCKET" ] || [ -d "$WATTLENS_ACTUATOR_STATE" ] || return 0  # nobody has ever steered here
    end=$(($(date +%s) + WATTLENS_WAIT_S))
    while :; do
        if status=$("$WATTLENS_BIN/wattlens" dvfs status --json --socket "$WATTLENS_ACTUATOR_SOCKET" 2>/dev/null); then
            left=$(printf '%s' "$status" | orphans) || left="(an answer that is none)"
        elif "$WATTLENS_BIN/wattlens" dvfs restore --state "$WATTLENS_ACTUATOR_STATE" >/dev/null 2>&1; then
            left=""
        else
            left="(no actuator answers, and wattlens dvfs restore did not finish)"
        fi
        if [ -z "$left" ] || [ "$(date +%s)" -ge "$end" ]; then
            printf '%s' "$left"
            return
        fi
        sleep 1
    done
}

# Joules of the job on this node, by the agent's page; nothing where it does not answer or does not know the job.
joules() {
    curl --config "$WATTLENS_CURL_CONFIG" --silent --fail --max-time 3 --max-filesize 33554432 "$WATTLENS_METRICS" 2>/dev/null \
        | awk -v workload="workload=\"slurm-$SLURM_JOB_ID\"" '
            index($0, "wattlens_workload_energy_joules_total{") == 1 && index($0, workload) { sum += $NF; seen = 1 }
            END { if (seen) printf "%.0f", sum }'
}

case ${SLURM_JOB_ID:-} in
    '' | *[!0-9]*) say "SLURM_JOB_ID is no number: is this run by slurmd?"; exit 0 ;;
esac
case ${SLURM_SCRIPT_CONTEXT:-} in
    prolog_slurmd) when="before" ;;
    epilog_slurmd)
        when="after"
        sleep "$WATTLENS_SETTLE_S"
        used=$(joules) || used=""
        say "job=$SLURM_JOB_ID user=${SLURM_JOB_USER:-?} gpus=${SLURM_JOB_GPUS:-none} gpu_energy_joules=${used:-unknown}"
        ;;
    *) say "SLURM_SCRIPT_CONTEXT is '${SLURM_SCRIPT_CONTEXT:-}': this is for Prolog and Epilog of slurm.conf"; exit 0 ;;
esac
left=$(left_over)
[ -n "$left" ] || exit 0
say "job=$SLURM_JOB_ID: $when it, settings are left that nobody holds: $left"
[ "$WATTLENS_DRAIN" != yes ] || exit 1
