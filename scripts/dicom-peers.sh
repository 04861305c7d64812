#!/usr/bin/env bash
# scripts/dicom-peers.sh COMMAND... : installs Debian's DICOM services where they are missing, and runs the command in a network that
# has loopback alone: these services listen on all addresses, cannot be told otherwise, and ask for no password.
set -euo pipefail
say() { printf '== %s\n' "$*"; }
fail() { printf 'dicom-peers: %s\n' "$*" >&2; exit 1; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$here/demo/packages.sh"
# shellcheck disable=SC2034 # what ensure_packages installs
NEEDED='Orthanc=orthanc storescp=dcmtk unshare=util-linux ip=iproute2'
ensure_packages
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || { say 'Installing Debian packages: orthanc-dicomweb'; install_quietly orthanc-dicomweb; }

alone() { unshare --map-root-user --net -- sh -c 'ip link set lo up && exec "$@"' sh "$@"; }
alone true || fail 'cannot make a network namespace: run this as root, or allow user namespaces'
alone "$@"
