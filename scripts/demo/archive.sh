# shellcheck shell=bash
# The archive: Debian's Orthanc, run by the demo on this machine for the pods of its own cluster, and for nobody else.

archive_url() { printf 'http://%s:%s' "$ARCHIVE_HOST" "$ARCHIVE_HTTP_PORT"; }

# archive METHOD PATH [BODY] : one request to its REST interface, on standard output.
archive() {
  curl --silent --show-error --fail --max-time 30 --noproxy '*' -X "$1" ${3+--data-binary "$3"} "$(archive_url)$2"
}

archive_alive() {
  local pid at
  read -r pid at 2>/dev/null <"$ARCHIVE_DIR/pid" || return 1
  [ -n "$at" ] && [ "$(started "$pid")" = "$at" ]
}

archive_start() {
  local port link pid
  for port in "$ARCHIVE_HTTP_PORT" "$ARCHIVE_DICOM_PORT"; do
    if (exec 3<>"/dev/tcp/$LOCAL_ARCHIVE/$port") 2>/dev/null; then
      fail "port $port of this machine is in use: end what listens there, or set ARCHIVE_HTTP_PORT and ARCHIVE_DICOM_PORT"
    fi
  done
  link=$(ip -o -4 address show to "$LOCAL_ARCHIVE/32" | awk '{print $2; exit}')
  [ -n "$link" ] || fail "no network link has the address $LOCAL_ARCHIVE: the demo's cluster is not up"
  archive_fence "$link"
  install -d -m 750 -o orthanc -g orthanc "$ARCHIVE_DIR" "$ARCHIVE_DIR/storage"
  archive_configuration >"$ARCHIVE_DIR/orthanc.json"
  # No descriptor of ours may stay open in it, or whoever reads our output waits for the archive to end.
  # shellcheck disable=SC2024 # root writes the log on purpose
  setsid setpriv --reuid=orthanc --regid=orthanc --clear-groups -- \
    Orthanc "$ARCHIVE_DIR/orthanc.json" </dev/null >"$ARCHIVE_DIR/log" 2>&1 9>&- &
  pid=$!
  # It changes user and program in place, so this is its process id for good.
  echo "$pid $(started "$pid")" >"$ARCHIVE_DIR/pid"
  until_ok 30 "the archive answers (log: $ARCHIVE_DIR/log)" archive GET /system
}

# Orthanc 1.10 listens on all addresses and cannot be told otherwise, and this one asks for no password.
archive_fence() {
  archive_unfence
  nft -f - <<NFT
table inet medley_demo {
  chain input {
    type filter hook input priority filter; policy accept;
    iifname != { "lo", "$1" } tcp dport { $ARCHIVE_HTTP_PORT, $ARCHIVE_DICOM_PORT } drop
  }
}
NFT
}

archive_unfence() { nft delete table inet medley_demo 2>/dev/null || true; }

archive_configuration() {
  jq -n --arg dir "$ARCHIVE_DIR/storage" --arg aet "$ARCHIVE_AET" \
    --argjson http "$ARCHIVE_HTTP_PORT" --argjson dicom "$ARCHIVE_DICOM_PORT" '{
      Name: "ct-quality demo", StorageDirectory: $dir, IndexDirectory: $dir, Plugins: [],
      HttpPort: $http, RemoteAccessAllowed: true, AuthenticationEnabled: false,
      DicomPort: $dicom, DicomAet: $aet, DicomCheckCalledAet: true, SaveJobs: false
    }'
}

archive_stop() {
  local pid tries=100
  if archive_alive; then
    read -r pid _ <"$ARCHIVE_DIR/pid"
    kill -TERM "$pid"
    while archive_alive && [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; done
    if archive_alive; then kill -KILL "$pid"; fi
    while archive_alive; do sleep 0.05; done
  fi
  archive_unfence
  rm -rf "$ARCHIVE_DIR"
}
