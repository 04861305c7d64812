# shellcheck shell=bash
# medley itself, installed as anybody would: by its two charts.

# image_values REF : the chart's values for an image, given by tag, by digest or by neither.
image_values() {
  local name=${1%%@*} tag=
  case "${name##*/}" in *:*) tag=${name##*:} name=${name%:*} ;; esac
  printf 'image.repository=%s,image.tag=%s' "$name" "$tag"
  case "$1" in *@*) printf ',image.digest=%s' "${1#*@}" ;; esac
}

# install_operator [OPTIONS...] : with further options of helm.
install_operator() {
  helm upgrade --install medley-crds "$ROOT/charts/medley-crds" \
    --namespace "$RELEASE_NAMESPACE" --create-namespace --wait --timeout "$HELM_TIMEOUT" >/dev/null
  helm upgrade --install medley "$ROOT/charts/medley" --namespace "$RELEASE_NAMESPACE" --wait --timeout "$HELM_TIMEOUT" \
    --set-string "$(image_values "$IMAGE")" --set clusterWide=true "$@" >/dev/null ||
    { kubectl -n "$RELEASE_NAMESPACE" get pods,events >&2 || true; fail "the operator did not become ready"; }
  note "$(kubectl -n "$RELEASE_NAMESPACE" get deployment medley -o jsonpath='{.metadata.name}: {.status.readyReplicas} of {.spec.replicas} ready, image {.spec.template.spec.containers[0].image}')"
}

# render DIR : the example's objects, with this demo's images, archive and size of the analysis in place of those written there.
render() {
  local file
  rm -rf "$1"
  mkdir -p "$1/runs"
  for file in namespace.yaml services.yaml workflow.yaml runs/1-routine.yaml runs/2-incomplete.yaml runs/3-stat.yaml; do
    sed -e "s|localhost/ct-quality:dev|$EXAMPLE_IMAGE|; s|host: $LOCAL_ARCHIVE|host: $ARCHIVE_HOST|" \
      -e "s|port: 8042|port: $ARCHIVE_HTTP_PORT|; s|local:8042|local:$ARCHIVE_HTTP_PORT|; s|port: 4242|port: $ARCHIVE_DICOM_PORT|" \
      -e "s|calledAeTitle: ORTHANC|calledAeTitle: $ARCHIVE_AET|" \
      -e "s|cpu: 1100m|cpu: $ANALYSIS_CPU|" "$EXAMPLE/$file" >"$1/$file"
  done
}

apply_services() {
  kubectl apply -f "$1/namespace.yaml" -f "$1/services.yaml" -f "$1/workflow.yaml"
  kubectl -n "$NAMESPACE" wait --for=condition=Ready --timeout=90s msvc/archive msvc/verdict mwf/ct-quality >/dev/null ||
    fail_with_objects 'the services or the workflow are not Ready'
  kubectl -n "$NAMESPACE" wait --for=condition=Reachable --timeout=90s msvc/archive msvc/verdict >/dev/null ||
    fail_with_objects 'a service is not Reachable'
  kubectl -n "$NAMESPACE" get msvc -o wide
}

fail_with_objects() {
  kubectl -n "$NAMESPACE" get msvc,mq,mwf,mrun,pods -o wide >&2 || true
  kubectl -n "$NAMESPACE" get msvc,mq,mwf,mrun -o json |
    jq -r '.items[] | . as $o | .status.conditions[]? | "\($o.kind) \($o.metadata.name): \(.type)=\(.status) \(.reason): \(.message)"' >&2 || true
  kubectl -n "$RELEASE_NAMESPACE" logs deployment/medley --tail=20 >&2 || true
  fail "$1"
}
