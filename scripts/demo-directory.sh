#!/usr/bin/env bash
# Services found by what they can do and known by how they are: examples/radiology-directory on a real node, with real servers of DICOM, FHIR and HL7.
#   scripts/demo-directory.sh           leaves everything running to be looked at; scripts/demo-down.sh removes it
#   ONCE=1 scripts/demo-directory.sh    exits 0 only if all was as it should be, and removes everything either way
# shellcheck disable=SC2034 # the parts use each other's variables
set -euo pipefail
export LC_ALL=C # a moment in seconds has a point
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for part in settings packages cluster operator peers registry; do
  # shellcheck source=/dev/null
  . "$here/demo/$part.sh"
done
EXAMPLE=$ROOT/examples/radiology-directory
NAMESPACE=radiology
NEEDED="Orthanc=orthanc storescp=dcmtk curl=curl jq=jq nft=nftables setpriv=util-linux flock=util-linux openssl=openssl"
ONCE=${ONCE:-}

[ "$(uname -s)" = Linux ] || fail "the demo's own cluster needs Linux"
[ "$(id -u)" = 0 ] || fail "the demo's own cluster needs root: it runs a real Kubernetes node in namespaces of its own"
for name in MEDLEY_FHIR_PYTHON MEDLEY_HL7_PYTHON; do [ -n "${!name:-}" ] || fail "$name is not set: run this by make demo-directory"; done
need cargo go make
IMAGE=localhost/medley:dev
ensure_packages
mkdir -p "$STATE"
exec 9>"$CACHE/demo.lock"
flock -n 9 || fail 'another demo is running on this machine'
began=$SECONDS

ended() {
  local code=$?
  trap - EXIT INT TERM
  registry_close
  if [ -n "$ONCE" ]; then
    say 'Removing everything'
    "$here/demo-down.sh" || code=1
    [ $code = 0 ] && echo 'demo: passed' || echo 'demo: FAILED'
  elif [ $code != 0 ]; then
    echo 'demo: failed; what there is can be looked at. Remove it with: make demo-down' >&2
  fi
  exit $code
}
trap ended EXIT
trap 'exit 130' INT TERM
"$here/demo-down.sh" >/dev/null
mkdir -p "$STATE"

# get WHAT JSONPATH : a field of an object of the example.
get() { kubectl -n "$NAMESPACE" get "$1" -o "jsonpath=$2"; }
# reads WHAT JSONPATH VALUE : whether it is so.
reads() { [ "$(get "$1" "$2")" = "$3" ]; }
# comes SECONDS WHAT OBJECT JSONPATH VALUE : waits until it is so, and tells how long it took.
comes() {
  local at=$EPOCHREALTIME
  until reads "$3" "$4" "$5"; do
    (( ${EPOCHREALTIME/./} - ${at/./} < $1 * 1000000 )) || fail_with_objects "not after $1 s: $2"
    sleep 0.1
  done
  note "$(jq -rn --arg what "$2" --argjson us $((${EPOCHREALTIME/./} - ${at/./})) '"\($what): after \($us / 100000 | round / 10) s"')"
}
# whose DNS name the endpoints have
answer() { get mq/ct-archive '{.status.matches[*].service}'; }
excluded() { get mq/ct-archive '{range .status.excluded[*]}{.service}: {.reason}  {end}'; }
reason() { get "msvc/$1" '{.status.endpoints[0].reason}'; }
show() {
  kubectl -n "$NAMESPACE" get msvc,mq
  note "the answer: $(answer); not in it: $(excluded)"
}
run() {
  kubectl apply -f "$EXAMPLE/runs/$1" >/dev/null
  local name=${1#*-}
  name=${name%.yaml}
  kubectl -n "$NAMESPACE" wait --for=jsonpath='{.status.phase}'=Succeeded --timeout=60s "mrun/$name" >/dev/null ||
    fail_with_objects "the run $name did not succeed"
  note "run $name: C-ECHO to $(get "mrun/$name" '{.status.steps.archive.target.service.name}'), task $(get "mrun/$name" '{.status.outputs.task}') in the FHIR server, acknowledged by the feed"
  reads "mrun/$name" '{.status.steps.archive.target.service.name}' "$2" || fail "the run $name should have found $2"
}

say 'A Kubernetes cluster with one real node'
cluster_up
make --no-print-directory -C "$ROOT" image
cluster import node --name "$CLUSTER_NAME" "$ROOT/dist/medley.tar"
say 'The hospital: three archives, a FHIR server, an HL7 feed'
peers_start
note "pacs-south (dcmtk) $LOCAL_ARCHIVE:$SOUTH_PORT, pacs-north and pacs-west (Orthanc) :$NORTH_PORT and :$WEST_PORT, FHIR R4B :$EHR_PORT, MLLP :$FEED_PORT"
say 'medley, by its Helm charts, with the registry'
registry_certificate
install_operator --set registry.enabled=true,registry.tlsSecret=registry

say 'The directory'
kubectl apply -f "$EXAMPLE/namespace.yaml"
kubectl apply -f "$EXAMPLE/services.yaml" -f "$EXAMPLE/query.yaml" -f "$EXAMPLE/workflow.yaml"
comes 60 'the own archive is the answer' mq/ct-archive '{.status.matches[*].service}' pacs-south
for service in pacs-north ehr feed; do comes 60 "$service is ready" "msvc/$service" '{.status.ready}' 1; done
comes 60 'the one that does not know us is told apart' msvc/pacs-west '{.status.endpoints[0].reason}' AeTitleRejected
peer_listens $WEST_PORT || fail 'pacs-west should take TCP connections'
note 'pacs-west takes TCP connections: a port check would call it well'
show
run 1-near.yaml pacs-south

say 'As a program sees it that does not speak Kubernetes'
registry_open
registry "/registry/v1/queries/$NAMESPACE/ct-archive" | jq -c '{current, panic, matches: [.matches[] | {service, endpoint, probability}], excluded}'
[ "$(registry "/registry/v1/query?namespace=$NAMESPACE&protocol=FHIR" | jq -r '.matches[0].service')" = ehr ] || fail 'the registry should find the FHIR server'
[ "$(registry "/registry/v1/query?namespace=$NAMESPACE&protocol=DICOM&zone=west&zone=north" | jq -r '.matches[0].service')" = pacs-north ] ||
  fail 'the registry should find the archive of the north'

say 'The own archive crashes'
peer_stop south
comes 30 'the answer is that of another site' mq/ct-archive '{.status.matches[*].service}' pacs-north
note "pacs-south: $(reason pacs-south)"
run 2-far.yaml pacs-north

say 'It flaps: for a moment it is back, and gone again'
south_start
comes 30 'three answers make it ready' msvc/pacs-south '{.status.ready}' 1
comes 30 'the answer is the own archive again' mq/ct-archive '{.status.matches[*].service}' pacs-south
peer_stop south
comes 30 'and another one' mq/ct-archive '{.status.matches[*].service}' pacs-north

say 'The FHIR server is replaced by one that speaks R5'
peer_stop ehr
ehr_start R5
comes 30 'the drift is told' msvc/ehr '{.status.conditions[?(@.type=="CapabilityDrift")].status}' True
note "$(get msvc/ehr '{.status.conditions[?(@.type=="CapabilityDrift")].message}')"
comes 30 'it still does what is declared' msvc/ehr '{.status.ready}' 1

say 'The own archive is well again'
south_start
comes 30 'the answer is the own archive' mq/ct-archive '{.status.matches[*].service}' pacs-south
run 3-back.yaml pacs-south
show
note "all good, $((SECONDS - began)) s"

if [ -z "$ONCE" ]; then
  say 'Look around'
  how_to "export KUBECONFIG=$KUBECONFIG"
  how_to "export PATH=$(cluster build):\$PATH"
  how_to "kubectl -n $NAMESPACE get msvc,mq,mrun"
  how_to "kubectl -n $NAMESPACE get mq ct-archive -o yaml"
  how_to "kubectl -n $NAMESPACE describe msvc ehr"
  say 'Remove it: make demo-down'
fi
