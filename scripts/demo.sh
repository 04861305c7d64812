#!/usr/bin/env bash
# medley on a real CT study, from nothing to a result in the archive. See examples/ct-quality/README.md.
#   scripts/demo.sh           leaves everything running to be looked at; scripts/demo-down.sh removes it
#   ONCE=1 scripts/demo.sh    exits 0 only if the result is in the archive, and removes everything either way
#   CLUSTER=current …         uses the cluster that KUBECONFIG names instead of making one
# shellcheck disable=SC2034 # the parts use each other's variables
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for part in settings packages archive study cluster operator watch outcome; do
  # shellcheck source=/dev/null
  . "$here/demo/$part.sh"
done
ONCE=${ONCE:-}

check_machine() {
  [ "$(uname -s)" = Linux ] || fail "the demo's own cluster needs Linux. $elsewhere"
  [ "$(id -u)" = 0 ] || fail "the demo's own cluster needs root: it runs a real Kubernetes node in namespaces of its own. Run it as root. $elsewhere"
  need cargo go make
  # Who passes images is who builds them; here they are built.
  IMAGE=localhost/medley:dev EXAMPLE_IMAGE=localhost/ct-quality:dev ARCHIVE_HOST=$LOCAL_ARCHIVE
}

check_current() {
  local name missing=
  for name in KUBECONFIG IMAGE CT_QUALITY_IMAGE ARCHIVE_HOST; do [ -n "${!name:-}" ] || missing+=" $name"; done
  [ -z "$missing" ] || fail "CLUSTER=current needs:$missing
  KUBECONFIG        the cluster to use; never taken from a default
  IMAGE             medley's image, such as registry.example/medley:dev, that the cluster can pull (see Dockerfile)
  CT_QUALITY_IMAGE  the example's image (see examples/ct-quality/analysis/Dockerfile), likewise
  ARCHIVE_HOST      name or address of an Orthanc server without a password, reached alike from here and from the pods;
                    ARCHIVE_HTTP_PORT ($ARCHIVE_HTTP_PORT), ARCHIVE_DICOM_PORT ($ARCHIVE_DICOM_PORT) and ARCHIVE_AET ($ARCHIVE_AET) may be set too"
  need kubectl helm jq curl storescu dcmodify openssl timeout
  EXAMPLE_IMAGE=$CT_QUALITY_IMAGE
  kubectl version >/dev/null 2>&1 || fail "the cluster of KUBECONFIG=$KUBECONFIG does not answer"
  archive GET /system >/dev/null || fail "the archive at $(archive_url) does not answer"
  # What is there already is not the demo's to change.
  if [ ! -e "$STATE/current" ]; then
    if helm -n "$RELEASE_NAMESPACE" status medley >/dev/null 2>&1; then
      fail "medley is installed in namespace $RELEASE_NAMESPACE of this cluster already; the demo leaves it alone. Apply examples/ct-quality/ by hand"
    fi
    if kubectl get namespace "$NAMESPACE" >/dev/null 2>&1; then fail "the namespace $NAMESPACE exists in this cluster already"; fi
  fi
}

elsewhere='To use a cluster that you have: CLUSTER=current KUBECONFIG=/path/to/kubeconfig make demo (it says what else it needs)'
case $CLUSTER in
  node) check_machine ;;
  current) check_current ;;
  *) fail "CLUSTER=$CLUSTER: use node or current" ;;
esac

mkdir -p "$STATE"
began=$SECONDS

# From here on there is something to remove.
ended() {
  local code=$?
  trap - EXIT INT TERM
  if [ -n "$ONCE" ]; then
    say 'Removing everything'
    CLUSTER=$CLUSTER "$here/demo-down.sh" || code=1
    [ $code = 0 ] && echo 'demo: passed' || echo 'demo: FAILED'
  elif [ $code != 0 ]; then
    echo 'demo: failed; what there is can be looked at. Remove it with: make demo-down' >&2
  fi
  exit $code
}

if [ "$CLUSTER" = node ]; then
  ensure_packages
  exec 9>"$CACHE/demo.lock"
  flock -n 9 || fail 'another demo is running on this machine'
  trap ended EXIT
  trap 'exit 130' INT TERM
  # Whatever an earlier demo left, also one that was killed.
  "$here/demo-down.sh" >/dev/null
  mkdir -p "$STATE"
  say 'A Kubernetes cluster with one real node'
  cluster_up
  kubectl get nodes -o wide
  say 'Images: the operator, and the example'
  load_images
else
  trap ended EXIT
  trap 'exit 130' INT TERM
  printf '%s\n' "$KUBECONFIG" "$ARCHIVE_HOST" "$ARCHIVE_HTTP_PORT" >"$STATE/current"
fi

say 'medley, by its Helm charts'
install_operator
show_priorities

if [ "$CLUSTER" = node ]; then
  say "The archive: Orthanc at $(archive_url) and DICOM port $ARCHIVE_DICOM_PORT"
  archive_start
fi
say 'A real CT image, sent to the archive by DICOM C-STORE'
fetch_ct
make_studies "$STATE/studies"
send_studies "$STATE/studies"
note "$(archive GET /statistics | jq -r '"the archive holds \(.CountInstances) images of \(.CountStudies) studies"')"

say 'The services and the workflow of examples/ct-quality'
ANALYSIS_CPU=1100m
if [ "$CLUSTER" = node ]; then
  # Just over half of what is left: the node holds one analysis at a time, so that the runs have to wait for each other.
  ANALYSIS_CPU=$(($(free_cpu) / 2 + 20))m
  note "an analysis asks for $ANALYSIS_CPU of CPU, so that the node holds one at a time"
fi
render "$STATE/manifests"
apply_services "$STATE/manifests"

say 'Six runs: four routine, one of an incomplete study, and last a stat one, which need not wait for the others'
kubectl apply -f "$STATE/manifests/runs"
follow 6 300 || fail_with_objects 'the runs did not end within 5 minutes'

say 'The order in which the analyses ended'
show_order
note "the stat run, made last, has overtaken $(overtaken) of 4 routine runs"
say 'What the archive now says about each study'
show_notes
say 'Check: every run succeeded, and its result is in the archive'
check_outcome || fail_with_objects 'the outcome is not what it should be'
note "all good, $((SECONDS - began)) s"

if [ -z "$ONCE" ]; then
  say 'Look around'
  how_to "export KUBECONFIG=$KUBECONFIG"
  if [ "$CLUSTER" = node ]; then how_to "export PATH=$(cluster build):\$PATH"; fi
  how_to "kubectl -n $NAMESPACE get msvc,mwf,mrun"
  how_to "kubectl -n $NAMESPACE get mrun stat -o yaml"
  how_to "curl $(archive_url)/studies/$(study_id stat)/metadata/1024"
  say "Remove it: $([ "$CLUSTER" = node ] || printf 'CLUSTER=current KUBECONFIG=%s ' "$KUBECONFIG")make demo-down"
fi
