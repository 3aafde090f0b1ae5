#!/bin/bash
# Runs the guest scenarios, all in one boot, on each kind of backing.
#
# usage: ci/guest run KERNEL tests/guest/all.sh [--target lio] [--backing [FAMILY:]KIND]... [--small] [SCENARIO...]
#
# FAMILY is a directory here: srp, iser, tcp, scsi, nvme, reservations or access. KIND is tmpfs or ext4; both when no --backing is for the family.
# --small has fio write a quarter of what it writes otherwise.
# SCENARIO is the name of a file here without .sh, such as iser/filesystem, or a family, for all of its files. Everything
# when none is named. Exits with 1 when a check failed.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=../../ci/lib/guest.sh
. ../../ci/lib/guest.sh

TARGET=pagecast backings=() scenarios=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' all.sh; exit ;;
    --target) TARGET=$2; shift 2 ;;
    --backing) backings+=("$2"); shift 2 ;;
    --small) export SMALLER=4; shift ;;
    -*) echo "unknown option: $1 (-h lists them)" >&2; exit 2 ;;
    *) scenarios+=("$1"); shift ;;
    esac
done
[ ${#scenarios[@]} -gt 0 ] || scenarios=(srp iser tcp scsi nvme reservations access)

# backings_of FAMILY: its own; those that are for no family in particular, if it has none; else both
backings_of() {
    local one own=() any=()
    for one in "${backings[@]}"; do
        case $one in "$1":*) own+=("${one#*:}") ;; *:*) ;; *) any+=("$one") ;; esac
    done
    [ ${#any[@]} -gt 0 ] || any=(tmpfs ext4)
    [ ${#own[@]} -gt 0 ] || own=("${any[@]}")
    printf '%s\n' "${own[@]}"
}

files=()
for name in "${scenarios[@]}"; do
    if [ -d "$name" ]; then files+=("$name"/*.sh); else files+=("$name.sh"); fi
done
for file in "${files[@]}"; do
    [ -f "$file" ] || { echo "no such scenario: ${file%.sh}" >&2; exit 2; }
done

net_up
failed=0
for file in "${files[@]}"; do
    for backing in $(backings_of "${file%%/*}"); do
        name=${file%.sh}/$backing began=$SECONDS status=0
        BACKING=$backing TARGET=$TARGET timeout -k 20 600 bash "$file" || status=$?
        [ "$status" -lt 124 ] || echo "not ok - $name: it ends within 600 s (status $status)"
        [ "$status" = 0 ] || failed=1
        echo "# $name: $((SECONDS - began)) s"
    done
done
exit "$failed"
