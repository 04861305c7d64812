# shellcheck shell=bash
# medley's registry over HTTPS, as a program sees it that does not speak Kubernetes.

REGISTRY_HOST=medley.$RELEASE_NAMESPACE.svc
REGISTRY_PORT=18443

# registry_certificate : a certificate of its own, as a Secret that the chart names.
registry_certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$REGISTRY_HOST" \
    -addext "subjectAltName=DNS:$REGISTRY_HOST" -keyout "$STATE/registry.key" -out "$STATE/registry.crt" 2>/dev/null
  kubectl create namespace "$RELEASE_NAMESPACE" --dry-run=client -o yaml | kubectl apply -f - >/dev/null
  kubectl -n "$RELEASE_NAMESPACE" create secret tls registry --cert="$STATE/registry.crt" --key="$STATE/registry.key" \
    --dry-run=client -o yaml | kubectl apply -f - >/dev/null
}

# registry_open : a way to it from this machine, and a reader who may see the example's namespace.
registry_open() {
  kubectl -n "$NAMESPACE" create serviceaccount reader >/dev/null
  kubectl -n "$NAMESPACE" create rolebinding reader --clusterrole=view --serviceaccount="$NAMESPACE:reader" >/dev/null
  kubectl -n "$RELEASE_NAMESPACE" port-forward deployment/medley "$REGISTRY_PORT:8443" >"$STATE/port-forward.log" 2>&1 9>&- &
  REGISTRY_FORWARD=$!
  until_ok 30 "the registry can be asked (log: $STATE/port-forward.log)" registry '/registry/v1/services?namespace='"$NAMESPACE"
}

registry_close() {
  if [ -n "${REGISTRY_FORWARD:-}" ]; then kill "$REGISTRY_FORWARD" 2>/dev/null || true; fi
}

# registry PATH : what it answers.
registry() {
  local token
  token=$(kubectl -n "$NAMESPACE" create token reader --audience=medley.health) || return 1
  curl --silent --show-error --fail --max-time 10 --noproxy '*' --cacert "$STATE/registry.crt" \
    --connect-to "$REGISTRY_HOST:8443:127.0.0.1:$REGISTRY_PORT" -H "Authorization: Bearer $token" "https://$REGISTRY_HOST:8443$1"
}
