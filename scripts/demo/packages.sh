# shellcheck shell=bash
# The programs of the demo that come from Debian: the archive, the DICOM tools, and what the scripts call.

# Each program with the package that has it.
NEEDED='Orthanc=orthanc storescu=dcmtk dcmodify=dcmtk echoscu=dcmtk curl=curl jq=jq nft=nftables setpriv=util-linux flock=util-linux openssl=openssl'

ensure_packages() {
  local pair missing=
  export PATH=$PATH:/usr/sbin:/sbin
  for pair in $NEEDED; do
    command -v "${pair%%=*}" >/dev/null || case " $missing " in *" ${pair#*=} "*) ;; *) missing+=" ${pair#*=}" ;; esac
  done
  [ -n "$missing" ] || return 0
  command -v apt-get >/dev/null || fail "install these packages first (Debian's names):$missing"
  say "Installing Debian packages:$missing"
  install_quietly "$missing"
}

# Packages are installed with their services left off: the demo starts its own archive, with its own configuration.
install_quietly() (
  local policy=/usr/sbin/policy-rc.d
  if [ ! -e $policy ]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # shellcheck disable=SC2086 # a list of packages
  apt-get install -y -qq --no-install-recommends $1 >/dev/null
)
