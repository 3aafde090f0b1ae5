#!/bin/bash
# Runs the guest scenarios, all in one boot, on each kind of backing.
#
# usage: ci/guest run KERNEL tests/guest/all.sh [--target lio] [--backing tmpfs|ext4] [--small] [SCENARIO...]
#
# --small has fio write a quarter of what it writes otherwise.
# SCENARIO is the name of a file in tests/guest/srp, without .sh. Exits with 1 when a check failed.
set -euo pipefail
cd "$(dirname "$0")"
# shellcheck source=../../ci/lib/guest.sh
. ../../ci/lib/guest.sh

TARGET=pagecast backings=(tmpfs ext4) scenarios=()
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help) awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' all.sh; exit ;;
    --target) TARGET=$2; shift 2 ;;
    --backing) backings=("$2"); shift 2 ;;
    --small) export SMALLER=4; shift ;;
    *) scenarios+=("$1"); shift ;;
    esac
done
[ ${#scenarios[@]} -gt 0 ] || for file in srp/*.sh; do scenarios+=("$(basename "$file" .sh)"); done

net_up
failed=0
for name in "${scenarios[@]}"; do
    for backing in "${backings[@]}"; do
        began=$SECONDS status=0
        BACKING=$backing TARGET=$TARGET timeout -k 20 300 bash "srp/$name.sh" || status=$?
        [ "$status" -lt 124 ] || echo "not ok - $name/$backing: it ends within 300 s (status $status)"
        [ "$status" = 0 ] || failed=1
        echo "# $name/$backing: $((SECONDS - began)) s"
    done
done
exit "$failed"
