# shellcheck shell=bash
# The hospital of examples/radiology-directory: servers on this machine, for the pods of the demo's own cluster and for nobody else.

PEERS_DIR=/run/medley-demo-peers
# Each port is that of examples/radiology-directory/services.yaml.
SOUTH_PORT=11112
NORTH_PORT=11113
WEST_PORT=11114
FEED_PORT=11175
EHR_PORT=11180

# peer_start NAME USER COMMAND... : starts a server and remembers it.
peer_start() {
  local name=$1 user=$2 folder=$PEERS_DIR/$1 pid
  shift 2
  install -d -m 711 "$PEERS_DIR"
  install -d -m 750 -o "$user" "$folder"
  # Some end with their standard input: a pipe that is open for writing too never does.
  rm -f "$folder.in"
  mkfifo "$folder.in"
  # No descriptor of ours may stay open in it, or whoever reads our output waits for it to end.
  # shellcheck disable=SC2024 # root writes the log on purpose
  setsid setpriv --reuid="$user" --regid="$(id -g "$user")" --clear-groups -- "$@" \
    <>"$folder.in" >"$folder.log" 2>&1 9>&- &
  pid=$!
  # its end is wanted, and no news for the shell
  disown "$pid"
  # it changes user and program in place, so this is its process id for good
  echo "$pid $(started "$pid")" >"$folder.pid"
}

peer_alive() {
  local pid at
  read -r pid at 2>/dev/null <"$PEERS_DIR/$1.pid" || return 1
  [ -n "$at" ] && [ "$(started "$pid")" = "$at" ]
}

# peer_stop NAME : ends it at once, as a crash would.
peer_stop() {
  local pid
  if peer_alive "$1"; then
    read -r pid _ <"$PEERS_DIR/$1.pid"
    kill -KILL "$pid"
    while peer_alive "$1"; do sleep 0.05; done
  fi
  rm -f "$PEERS_DIR/$1.pid"
}

peer_listens() { (exec 3<>"/dev/tcp/$LOCAL_ARCHIVE/$1") 2>/dev/null; }

# south_start : dcmtk's storage service, which asks nobody who he is.
south_start() {
  peer_start south orthanc storescp --aetitle PACS_SOUTH --output-directory "$PEERS_DIR/south" "$SOUTH_PORT"
  until_ok 30 "pacs-south listens (log: $PEERS_DIR/south.log)" peer_listens "$SOUTH_PORT"
}

# orthanc_start NAME AETITLE PORT OPTIONS : an Orthanc without its web server. OPTIONS is JSON.
orthanc_start() {
  local folder=$PEERS_DIR/$1
  install -d -m 711 "$PEERS_DIR"
  install -d -m 750 -o orthanc "$folder"
  jq -n --arg dir "$folder" --arg aet "$2" --argjson port "$3" --argjson options "$4" '{
      Name: $aet, StorageDirectory: $dir, IndexDirectory: $dir, Plugins: [], HttpServerEnabled: false,
      DicomPort: $port, DicomAet: $aet, DicomCheckCalledAet: true, SaveJobs: false
    } + $options' >"$folder.json"
  peer_start "$1" orthanc Orthanc "$folder.json"
  until_ok 30 "pacs-$1 listens (log: $folder.log)" peer_listens "$3"
}

# ehr_start RELEASE : the FHIR server, speaking R4B or R5.
ehr_start() {
  peer_start ehr root env FHIR_SEQUENCE="$1" "$MEDLEY_FHIR_PYTHON" -W ignore "$ROOT/tests/peers/fhir/server.py" "$LOCAL_ARCHIVE:$EHR_PORT"
  until_ok 60 "the FHIR server listens (log: $PEERS_DIR/ehr.log)" peer_listens "$EHR_PORT"
}

feed_start() {
  peer_start feed root "$MEDLEY_HL7_PYTHON" -W ignore "$ROOT/tests/peers/hl7/server.py" "$LOCAL_ARCHIVE:$FEED_PORT"
  until_ok 60 "the HL7 feed listens (log: $PEERS_DIR/feed.log)" peer_listens "$FEED_PORT"
}

peers_start() {
  local port link
  for port in $SOUTH_PORT $NORTH_PORT $WEST_PORT $FEED_PORT $EHR_PORT; do
    if peer_listens "$port"; then fail "port $port of this machine is in use: end what listens there"; fi
  done
  link=$(ip -o -4 address show to "$LOCAL_ARCHIVE/32" | awk '{print $2; exit}')
  [ -n "$link" ] || fail "no network link has the address $LOCAL_ARCHIVE: the demo's cluster is not up"
  peers_fence "$link"
  south_start
  orthanc_start north PACS_NORTH $NORTH_PORT '{}'
  # Its list of partners is empty, and it is told to mean that: by itself Orthanc lets everybody echo and store.
  orthanc_start west PACS_WEST $WEST_PORT '{"DicomModalities": {}, "DicomAlwaysAllowEcho": false, "DicomAlwaysAllowStore": false}'
  ehr_start R4B
  feed_start
}

# The DICOM services listen on all addresses and cannot be told otherwise, and none asks for a password.
peers_fence() {
  peers_unfence
  nft -f - <<NFT
table inet medley_demo_peers {
  chain input {
    type filter hook input priority filter; policy accept;
    iifname != { "lo", "$1" } tcp dport { $SOUTH_PORT, $NORTH_PORT, $WEST_PORT, $FEED_PORT, $EHR_PORT } drop
  }
}
NFT
}

peers_unfence() { nft delete table inet medley_demo_peers 2>/dev/null || true; }

peers_stop() {
  local name
  for name in south north west ehr feed; do peer_stop "$name"; done
  peers_unfence
  rm -rf "$PEERS_DIR"
}
