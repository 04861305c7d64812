#!/usr/bin/env bash
# Readers of foreign bytes under bytes that coverage picks: libFuzzer, with the stable compiler. What it finds lies in a folder of its
# own, which is named, and the same input is played again where a file is given.
#
# usage: scripts/fuzz.sh [TARGET|all] [SECONDS for each] [FILE]
set -euo pipefail
cd "$(dirname "$0")/.."

wanted=${1:-all} seconds=${2:-60} file=${3:-}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/fuzz/target}/fuzz
RUSTC_WRAPPER=$PWD/scripts/fuzz-rustc.sh cargo build --locked --quiet --manifest-path fuzz/Cargo.toml --bins

programs=$CARGO_TARGET_DIR/debug
if [ -n "$file" ]; then exec "$programs/$wanted" "$file"; fi
names=$wanted
if [ "$wanted" = all ]; then names=$(basename -s .rs fuzz/targets/*.rs); fi
failed=0
for name in $names; do
  found=$CARGO_TARGET_DIR/found/$name
  mkdir -p "$found/corpus"
  # the first folder is written to, seeds are read only
  if "$programs/$name" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 -verbosity=1 -print_final_stats=1 \
    -artifact_prefix="$found/" "$found/corpus" "fuzz/seeds/$name" >"$found/log" 2>&1; then
    echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$found/log") executions, nothing found"
  else
    echo "$name: FOUND, see $found" >&2
    tail -20 "$found/log" >&2
    failed=1
  fi
done
exit $failed
