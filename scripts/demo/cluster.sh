# shellcheck shell=bash
# The demo's own cluster: one real node on this machine. All knowledge of it is in the harness's `cluster` command.

cluster() { cargo run --quiet --manifest-path "$ROOT/Cargo.toml" -p medley-harness --bin cluster -- "$@" 9>&-; }

cluster_up() {
  # In a name of its own, so that demo-down.sh never takes away a cluster that somebody else has brought up.
  cluster up node --name "$CLUSTER_NAME" >/dev/null
  KUBECONFIG=$(cluster kubeconfig node --name "$CLUSTER_NAME")
  export KUBECONFIG
  # kubectl and helm of the cluster's own version, before whatever else is installed.
  PATH=$(cluster build):$PATH
}

# The image of the analysis and of the verdict service: one static program and nothing else.
example_image() {
  local rootfs=$STATE/rootfs
  rm -rf "$rootfs"
  mkdir -p "$rootfs"
  (cd "$EXAMPLE/analysis" && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o "$rootfs/ct-quality" .)
  cluster image "$EXAMPLE_IMAGE" "$rootfs" "$STATE/ct-quality.tar" --entrypoint '["/ct-quality"]' --user 65532
}

load_images() {
  make --no-print-directory -C "$ROOT" image
  example_image
  cluster import node --name "$CLUSTER_NAME" "$ROOT/dist/medley.tar" "$STATE/ct-quality.tar"
}

# Millicores that the node has left for further pods.
free_cpu() {
  kubectl get nodes,pods -A -o json | jq '
    def milli: tostring | if endswith("m") then .[:-1] | tonumber else tonumber * 1000 end;
    ([.items[] | select(.kind == "Node").status.allocatable.cpu | milli] | add)
    - ([.items[] | select(.kind == "Pod" and (.status.phase | IN("Succeeded", "Failed") | not))
        | .spec.containers[].resources.requests.cpu // "0" | milli] | add // 0)
    | floor'
}
