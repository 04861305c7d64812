#!/usr/bin/env bash
# Removes what scripts/demo.sh or scripts/demo-directory.sh has made; does nothing where there is nothing. With CLUSTER=current it removes the demo's
# objects and releases from the cluster of KUBECONFIG and its studies from the archive of ARCHIVE_HOST.
# shellcheck disable=SC2034 # the parts use each other's variables
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
for part in settings archive study cluster peers; do
  # shellcheck source=/dev/null
  . "$here/demo/$part.sh"
done
export PATH=$PATH:/usr/sbin:/sbin

down_node() {
  [ "$(id -u)" = 0 ] || fail 'the cluster of the demo belongs to root: run it as root'
  archive_stop
  peers_stop
  # Only `cluster` leaves something there, so nothing is built to remove nothing.
  if [ -d "$CACHE/run" ]; then cluster down node --name "$CLUSTER_NAME"; fi
}

down_current() {
  [ -n "${KUBECONFIG:-}" ] || fail 'CLUSTER=current needs KUBECONFIG'
  [ -e "$STATE/current" ] || { note 'nothing of the demo is known in a cluster'; return; }
  local named
  { read -r named; read -r ARCHIVE_HOST; read -r ARCHIVE_HTTP_PORT; } <"$STATE/current"
  [ "$named" = "$KUBECONFIG" ] || fail "the demo ran with KUBECONFIG=$named"
  kubectl delete namespace "$NAMESPACE" --ignore-not-found --timeout=120s
  helm -n "$RELEASE_NAMESPACE" uninstall medley --ignore-not-found --wait --timeout "$HELM_TIMEOUT"
  helm -n "$RELEASE_NAMESPACE" uninstall medley-crds --ignore-not-found --wait --timeout "$HELM_TIMEOUT"
  remove_studies
  note "left in the cluster: the namespace $RELEASE_NAMESPACE and the three kinds, which may hold objects of others"
}

case $CLUSTER in
  node) down_node ;;
  current) down_current ;;
  *) fail "CLUSTER=$CLUSTER: use node or current" ;;
esac
rm -rf "$STATE"
echo 'demo: removed'
