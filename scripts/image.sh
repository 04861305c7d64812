#!/usr/bin/env bash
# The operator's container image as an OCI archive, made without Docker and without a registry.
#
# usage: scripts/image.sh
#   RELEASE=1             optimised, as it is shipped (default: as quick to build as the tests)
#   NAME=localhost/medley TAG=dev   how the image is called
#   OUT=dist/medley.tar   where the archive goes
#   CA_BUNDLE=FILE        authorities trusted for HTTPS calls (default: those of this machine)
set -euo pipefail
cd "$(dirname "$0")/.."

name=${NAME:-localhost/medley} tag=${TAG:-dev} out=${OUT:-dist/medley.tar}
die() { echo "image.sh: $*" >&2; exit 1; }
command -v readelf >/dev/null || die "readelf is missing; it comes with binutils"
[ "$(uname -s)" = Linux ] || die "the image needs a Linux program and this is $(uname -s); use the Dockerfile"

# The TLS client refuses to start without any trusted authority, and an empty image has none.
ca=${CA_BUNDLE:-}
for file in /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
  if [ -z "$ca" ] && [ -s "$file" ]; then ca=$file; fi
done
[ -s "$ca" ] || die "no CA bundle: install ca-certificates or name a PEM file in CA_BUNDLE"

# crt-static goes to the last link only. So the dependencies are the ones that the tests use, and are not built a second time.
if [ "${RELEASE:-}" = 1 ]; then profile=release folder=release; else profile=dev folder=debug; fi
cargo rustc --locked --quiet --profile "$profile" --bin medley -- -C target-feature=+crt-static -C strip=symbols
target=$(cargo metadata --locked --no-deps --format-version 1 | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

rootfs=$(mktemp -d)
trap 'rm -rf "$rootfs"' EXIT
chmod 755 "$rootfs"
install -m 0555 "$target/$folder/medley" "$rootfs/medley"
install -D -m 0444 "$ca" "$rootfs/etc/ssl/certs/ca-certificates.crt"

if readelf --wide --program-headers "$rootfs/medley" | grep -q INTERP; then
  die "$target/$folder/medley is not static: it names a loader that the image does not have"
fi
if readelf --wide --sections "$rootfs/medley" | grep -q '\.symtab'; then
  die "$target/$folder/medley is not stripped"
fi

mkdir -p "$(dirname "$out")"
cargo run --locked --quiet --package medley-harness --bin cluster -- \
  image "$name:$tag" "$rootfs" "$out" --entrypoint '["/medley"]' --user 65532
echo "$out: image $name:$tag, static and stripped, program $(stat -c %s "$rootfs/medley" | numfmt --to=iec), profile $profile"
