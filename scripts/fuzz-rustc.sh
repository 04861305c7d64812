#!/bin/sh
# The compiler for scripts/fuzz.sh: what reads foreign bytes is built so that libFuzzer sees which way it went, all else as ever.
# These are the flags of `cargo fuzz --sanitizer none`: counters of edges, and comparisons to learn from.
rustc=$1
shift
case " $* " in
*' --crate-name medley '* | *' --crate-name medley_laws '* | *' --crate-name dicom_ul '* | *' --crate-name redis '*)
  exec "$rustc" "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
  ;;
*) exec "$rustc" "$@" ;;
esac
