#!/usr/bin/env bash
# Installs what `make test-peers` takes from Debian, where it is not there. The services stay off: the tests start their own.
set -euo pipefail

say() { echo "$*"; }
fail() {
  echo "$*" >&2
  exit 1
}

# shellcheck source=scripts/demo/packages.sh
. "$(dirname "$0")/demo/packages.sh"
export NEEDED='redis-server=redis-server memcached=memcached mvn=maven javac=default-jdk-headless'
ensure_packages
