#!/usr/bin/env bash
# Checks the dependencies against deny.toml: banned crates, licences, sources.
# cargo-deny is built once per machine (about a minute) into the cache outside the checkout.
#
# usage: scripts/deny.sh [ARGUMENTS OF cargo-deny]     such as: scripts/deny.sh check advisories
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
home=${MEDLEY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/medley}/tools/cargo-deny-$version
if [ ! -x "$home/bin/cargo-deny" ]; then
  echo "building cargo-deny $version; once on a machine" >&2
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  CARGO_PROFILE_DEV_DEBUG=false CARGO_TARGET_DIR=$scratch \
    cargo install "cargo-deny@$version" --locked --debug --quiet --root "$home"
fi
if [ $# = 0 ]; then set -- --log-level error --locked check bans licenses sources; fi
"$home/bin/cargo-deny" "$@"
"$home/bin/cargo-deny" --manifest-path fuzz/Cargo.toml --config deny.toml "$@"
