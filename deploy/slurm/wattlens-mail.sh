#!/bin/sh
# MailProg of slurm.conf (MailProg=/etc/slurm/wattlens-mail.sh): sends Slurm's mail, with the energy of the job in it when a job
# has ended. slurmctld runs it as SlurmUser with the arguments of mail(1) and the job in its environment.
#
# /etc/wattlens/slurm.env may set the words below. The mail is always sent: without energy where it is not available.
set -eu
export PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin
# shellcheck source=/dev/null
[ ! -r "${WATTLENS_ENV:=/etc/wattlens/slurm.env}" ] || . "$WATTLENS_ENV"
: "${WATTLENS_BIN:=/opt/wattlens/bin}"      # folder of the program wattlens
: "${WATTLENS_MAIL:=/usr/bin/mail}"         # sends the mail: arguments of mail(1), text on standard input
: "${WATTLENS_JOB_SOURCE:=}"                # where `wattlens job` reads: --prometheus URL, or a folder; unset: no energy
: "${WATTLENS_CARBON:=}"                    # g CO2e per kWh
: "${WATTLENS_MAIL_SETTLE_S:=30}"           # for the last second of the job to be in the source

body=""
case ${SLURM_JOB_ID:-} in
    '' | *[!0-9]*) ;;
    *)
        case ${SLURM_JOB_MAIL_TYPE:-} in
            END | FAIL | Ended | Failed)
                if [ -n "$WATTLENS_JOB_SOURCE" ]; then
                    sleep "$WATTLENS_MAIL_SETTLE_S"
                    # The words of the source are separate arguments.
                    # shellcheck disable=SC2086
                    body=$("$WATTLENS_BIN/wattlens" job "slurm/$SLURM_JOB_ID" $WATTLENS_JOB_SOURCE \
                        ${WATTLENS_CARBON:+--carbon "$WATTLENS_CARBON"} --seff 2>/dev/null) || body="Energy: not available"
                fi
                ;;
        esac
        ;;
esac
printf '%s\n' "$body" | "$WATTLENS_MAIL" "$@"
