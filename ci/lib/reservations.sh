# What guest tests of reservations share: hosts of each protocol for one device, what they may do, and the programs that reserve.
# Sourced after guest.sh, iscsi.sh and nvme.sh.
# shellcheck shell=bash
# shellcheck disable=SC2034 # what is set here is for those who source this

initiator_logout() {
    local status=0
    [ ! -d /sys/class/nvme ] || timeout 60 nvme disconnect-all || true
    [ -z "${ISCSID:-}" ] || timeout 60 iscsiadm -m node -u || true
    srp_logout || status=1
    if [ -n "${ISCSID:-}" ]; then
        kill "$ISCSID" 2>/dev/null || true
        wait "$ISCSID" 2>/dev/null || true
    fi
    return $status
}

# hosts_up [TRANSPORT...]: an initiator of each; SRP, ISER and NVM are the disk as they see it, SRP_HOST and ISER_HOST their SCSI hosts
hosts_up() {
    local transport
    [ $# -gt 0 ] || set -- srp iser nvme
    for transport; do
        case $transport in
        srp) srp_module reconnect_delay=1 fast_io_fail_tmo=off dev_loss_tmo=120 && srp_login "$(target_line)" && SRP=$DISK SRP_HOST=$HOST ;;
        iser) iscsi_up && iscsi_login iser && ISER=$DISK ISER_HOST=$HOST ;;
        nvme) nvme_up && nvme_connect --reconnect-delay=1 --ctrl-loss-tmo=120 && NVM=$DISK ;;
        esac || return 1
    done
}

# --- what a host may do ----------------------------------------------------------------------------------------

# where `writes` and `reads` do it, in blocks of 4 KiB
PLACE=16
reads() { dd if="$1" of=/dev/null bs=4096 count=1 skip=$PLACE iflag=direct status=none; }
writes() { dd if=/run/random.bin of="$1" bs=4096 count=1 seek=$PLACE oflag=direct conv=notrunc status=none; }
# conflicts COMMAND...: it fails with what the kernel makes of a reservation conflict, EBADE
conflicts() {
    local status=0
    LC_ALL=C "$@" >/run/conflict.out 2>&1 || status=$?
    cat /run/conflict.out
    [ $status != 0 ] && grep -q 'Invalid exchange' /run/conflict.out
}
# may DISK WHAT: WHAT is `read write`, `read` or `nothing`
may() {
    case $2 in
    'read write') reads "$1" && writes "$1" ;;
    read) reads "$1" && conflicts writes "$1" ;;
    nothing) conflicts reads "$1" && conflicts writes "$1" ;;
    *) echo "may $2?"; return 1 ;;
    esac
}

# --- sg_persist ------------------------------------------------------------------------------------------------

# the types, by their SCSI codes
TYPES='1 3 5 6 7 8'
type_words() {
    case $1 in
    1) echo 'Write Exclusive' ;;
    3) echo 'Exclusive Access' ;;
    5) echo 'Write Exclusive, registrants only' ;;
    6) echo 'Exclusive Access, registrants only' ;;
    7) echo 'Write Exclusive, all registrants' ;;
    8) echo 'Exclusive Access, all registrants' ;;
    esac
}
# nvme_type SCSI_TYPE: NVMe's code for it
nvme_type() { case $1 in 1) echo 1 ;; *) echo $(($1 == 3 ? 2 : $1 - 2)) ;; esac; }
# for_others TYPE registrant|stranger: what `may` is to say of somebody who does not hold it
for_others() {
    case $1,$2 in
    [5678],registrant) echo 'read write' ;;
    [157],*) echo read ;;
    *) echo nothing ;;
    esac
}

# calm DISK: what the device had to tell was told
calm() {
    local _
    for _ in 1 2 3 4 5; do
        if sg_turs "$1" 2>/dev/null; then return; fi
    done
    echo "$1 is not ready"
    return 1
}
# attention DISK WORDS: the next command is told that, and the one after it nothing
attention() {
    local status=0
    sg_raw "$1" 00 00 00 00 00 00 >/run/attention.out 2>&1 || status=$?
    cat /run/attention.out
    [ $status = 6 ] && grep -qi "$2" /run/attention.out && sg_turs "$1"
}

# out DISK OPTION...: PERSISTENT RESERVE OUT
out() { calm "$1" && sg_persist -n -o "${@:2}" "$1"; }
# refused STATUS DISK OPTION...: it is, with sg_persist's exit status; 24 is RESERVATION CONFLICT, 5 ILLEGAL REQUEST. The kernel's own
# target has other words for some.
refused() {
    local status=0
    calm "$2" || return 1
    sg_persist -n -o "${@:3}" "$2" || status=$?
    [ $status = "$1" ] || { [ "$TARGET" = lio ] && [ $status != 0 ]; } || { echo "exit status $status, not $1"; return 1; }
}
# keys DISK: the registered keys, sorted, in one line
keys() { calm "$1" >&2 && sg_persist -n -k "$1" | awk '/^ +0x/ { print $1 }' | sort | xargs; }
# registered DISK [KEY...]: these keys, sorted, and no others
registered() {
    local found
    found=$(keys "$1")
    echo "registered: $found"
    [ "$found" = "${*:2}" ]
}
# generation DISK
generation() { calm "$1" >&2 && printf '%d\n' "$(sg_persist -n -k "$1" | grep -o 'PR generation=0x[0-9a-f]*' | grep -o '0x.*')"; }
# held DISK KEY TYPE: READ RESERVATION says so; held DISK: it says that there is no reservation
held() {
    calm "$1" && sg_persist -n -r "$1" >/run/held.out || return 1
    cat /run/held.out
    if [ $# = 1 ]; then grep -q 'there is NO reservation held' /run/held.out; return; fi
    grep -qix " *Key=$2" /run/held.out && grep -q "scope: LU_SCOPE,  type: $(type_words "$3")\$" /run/held.out
}
# full_status DISK: READ FULL STATUS, a line for each registration: its key, `holder` or `registrant`, the type (0 without),
# `all` or `one` target port, the port's relative identifier, and the TransportID in hexadecimal bytes with commas
full_status() {
    calm "$1" >&2 && sg_persist -n -s -HHH "$1" | perl -e '
        local $/; my @b = map { hex } <STDIN> =~ /\b([0-9a-f]{2})\b/g;
        my $number = sub { my $n = 0; $n = $n * 256 + $_ for @_; $n };
        my $end = 8 + $number->(@b[4 .. 7]); my $at = 8;
        die "short" if $end > @b;
        while ($at < $end) {
            my @d = @b[$at .. $at + 23]; my $more = $number->(@d[20 .. 23]);
            my $holder = $d[12] & 1;
            printf "0x%x %s %d %s %d %s\n", $number->(@d[0 .. 7]), $holder ? "holder" : "registrant", $holder ? $d[13] : 0,
                $d[12] & 2 ? "all" : "one", $number->(@d[18 .. 19]), join(",", map { sprintf "%02x", $_ } @b[$at + 24 .. $at + 23 + $more]);
            $at += 24 + $more;
        }'
}
# nobody DISK...: the registrations of these are gone, and the reservation with them
nobody() {
    local disk=$1
    out "$disk" -I -S 77 && out "$disk" -C -K 77 && for disk; do calm "$disk" || return 1; done
}

# --- the kernel's own way --------------------------------------------------------------------------------------

# block_pr DISK COMMAND KEY [OLD_KEY [TYPE]]: what util-linux's blkpr does, which Debian 12 does not have yet: register (KEY in place
# of OLD_KEY), reserve, release, preempt, preempt-abort (OLD_KEY is one's own), clear. TYPE is the kernel's, which is NVMe's.
# Fails with 24 for a reservation conflict.
block_pr() {
    case $1 in /dev/sd*) calm "$1" || return 1 ;; esac
    perl -e '
        my ($disk, $command, $key, $old, $type) = @ARGV;
        my %number = (register => 200, reserve => 201, release => 202, preempt => 203, "preempt-abort" => 204, clear => 205);
        my $of = sub { pack "Q<", hex($_[0] || 0) };
        my $data = $command eq "register" ? $of->($old) . $of->($key) . pack("L<2", 0, 0)
            : $command =~ /^preempt/ ? $of->($old) . $of->($key) . pack("L<2", $type, 0)
            : $command eq "clear" ? $of->($key) . pack("L<2", 0, 0)
            : $of->($key) . pack("L<2", $type, 0);
        open my $file, "+<", $disk or die "$disk: $!\n";
        my $status = ioctl $file, (1 << 30) | (length($data) << 16) | (ord("p") << 8) | $number{$command}, $data;
        defined $status or die "$command: $!\n";
        $status += 0;
        printf "%s: status 0x%x\n", $command, $status if $status;
        exit($status == 0 ? 0 : $status == 0x18 ? 24 : 1);' "$@"
}
# conflicting COMMAND...: it ends with 24, which sg_persist and block_pr do for a reservation conflict
conflicting() {
    local status=0
    "$@" || status=$?
    [ $status = 24 ] || { echo "exit status $status, not 24"; return 1; }
}

# --- nvme-cli --------------------------------------------------------------------------------------------------

# resv VERB DISK [ARG...]: nvme resv-VERB on namespace 1
resv() { timeout 60 nvme "resv-$1" "$2" -n 1 "${@:3}"; }
# nvme_conflict VERB DISK [ARG...]: the controller says Reservation Conflict
nvme_conflict() {
    local status=0
    resv "$@" >/run/resv.out 2>&1 || status=$?
    cat /run/resv.out
    [ $status != 0 ] && grep -Eiq 'reservation.conflict|\(0x[0-9a-f]?83\)' /run/resv.out
}
# report DISK FILTER: Reservation Report with 128-bit host identifiers, as JSON; the filter must hold of it
report() {
    resv report "$1" --eds -o json >/run/report.json || return 1
    cat /run/report.json
    jq -e "$2" /run/report.json >/dev/null
}
# notification CONTROLLER: the next entry of the reservation notification log: its number, its type (1 registration preempted, 2 reservation
# released, 3 reservation preempted), how many more there are, and its namespace
notification() {
    timeout 60 nvme resv-notif-log "$1" -o binary >/run/notification || { cat /run/notification; return 1; }
    perl -e 'local $/; my @f = unpack "Q< C C x2 L<", <STDIN>; print "@f\n"' </run/notification
}
no_notification() { [ "$(notification "$1" | awk '{ print $2 }')" = 0 ]; }
# notified CONTROLLER TYPE: the next entry is of that type, for namespace 1
notified() {
    notification "$1" >/run/entry || { cat /run/entry; return 1; }
    cat /run/entry
    [ "$(awk '{ print $2, $4 }' /run/entry)" = "$2 1" ]
}
