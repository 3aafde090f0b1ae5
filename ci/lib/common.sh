# Shared by the scripts in ci/. Source it; it sets ROOT to the checkout.
# shellcheck shell=bash
# shellcheck disable=SC2034 # for those who source this
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck disable=SC2034
CACHE=${PAGECAST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pagecast}
# administrators' programs (modprobe, mkfs) are not on every user's path
export PATH=$PATH:/usr/sbin:/sbin

say() { printf '%s\n' "$*" >&2; }
die() { say "${0##*/}: $*"; exit 1; }

# Prints the comment block at the head of the running script, which is its manual.
usage() { awk 'NR > 1 { if (!/^#/) exit; sub(/^# ?/, ""); print }' "$0"; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "this needs root or sudo: $*"; fi
}

# The Debian archive that this machine's own apt configuration names, in whatever form it is written.
debian_mirror() {
    local codename mirror
    # shellcheck disable=SC1091
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    # $(...) in the format is apt's own
    # shellcheck disable=SC2016
    mirror=$(apt-get indextargets --format '$(CREATED_BY) $(COMPONENT) $(RELEASE) $(REPO_URI)' |
        awk -v release="$codename" '$1 == "Packages" && $2 == "main" && $3 == release {print $4; exit}')
    [ -n "$mirror" ] || die "apt's configuration names no Debian archive (suite '$codename', component main);" \
        "add one to /etc/apt/sources.list.d and try again"
    printf '%s\n' "$mirror"
}

# debian_source SUITE: that suite of the archive, as a line for a sources.list
debian_source() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    [ -e "$keyring" ] || keyring=${keyring%.gpg}.pgp
    printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$(debian_mirror)" "$1"
}
