# shellcheck shell=bash disable=SC2034
# What the demo's scripts share: settings, messages and small tools. Source it; it starts nothing.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
EXAMPLE=$ROOT/examples/ct-quality

# `node`: a cluster made for the demo. `current`: the one that KUBECONFIG names.
CLUSTER=${CLUSTER:-node}
CLUSTER_NAME=demo
NAMESPACE=ct-quality
RELEASE_NAMESPACE=medley-system
HELM_TIMEOUT=180s

CACHE=${MEDLEY_CACHE:-${XDG_CACHE_HOME:-${HOME:?set HOME or MEDLEY_CACHE}/.cache}/medley}
# Everything the demo writes while it runs; removed by demo-down.sh.
STATE=$CACHE/demo

# The archive. On the demo's own cluster it runs on this machine, at the address by which pods see the machine.
LOCAL_ARCHIVE=10.200.0.1
# Orthanc runs as its own user, who cannot enter the caller's home.
ARCHIVE_DIR=/run/medley-demo
ARCHIVE_HTTP_PORT=${ARCHIVE_HTTP_PORT:-8042}
ARCHIVE_DICOM_PORT=${ARCHIVE_DICOM_PORT:-4242}
ARCHIVE_AET=${ARCHIVE_AET:-ORTHANC}

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
fail() { printf 'demo: %s\n' "$*" >&2; exit 1; }

# until_ok SECONDS WHAT COMMAND... : repeats the command until it succeeds; the time is a bound, not a wait.
until_ok() {
  local limit=$1 what=$2 end
  shift 2
  end=$((SECONDS + limit))
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "not after $limit s: $what"
    sleep 0.2
  done
}

# need PROGRAM... : says which are missing, all at once.
need() {
  local program missing=
  for program; do command -v "$program" >/dev/null || missing+=" $program"; done
  [ -z "$missing" ] || fail "missing programs:$missing"
}

# Start time of a process in clock ticks, empty when it is gone: a process id that was given out again has another one.
# A zombie counts as gone.
started() { sed -nE 's/.*\) //; /^[^ZX]/p' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# The commands that a person types after the demo, for the cluster that it used.
how_to() { printf '     %s\n' "$*"; }
