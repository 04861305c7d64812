#!/usr/bin/env bash
# scripts/monitoring-peers.sh COMMAND... : installs Debian's Prometheus and InfluxDB where they are missing, and runs the command.
set -euo pipefail
say() { printf '== %s\n' "$*"; }
fail() { printf 'monitoring-peers: %s\n' "$*" >&2; exit 1; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=/dev/null
. "$here/demo/packages.sh"
# shellcheck disable=SC2034 # what ensure_packages installs
NEEDED='promtool=prometheus prometheus=prometheus influxd=influxdb'
ensure_packages
exec "$@"
