# shellcheck shell=bash
# What came of it: read from the archive and from the cluster, not remembered.

# When each run was made and when its analysis ended.
show_order() {
  kubectl -n "$NAMESPACE" get mrun -o json | jq -r '
    [.items[] | select(.status.steps.measure.startedAt?)
      | {name: .metadata.name, urgency: .status.urgency, made: .metadata.creationTimestamp, done: .status.steps.measure.finishedAt,
         attempts: (.status.steps.measure.attempt // 1)}]
    | sort_by(.done) | to_entries[] | "\(.key + 1). \(.value.name) (\(.value.urgency)), made \(.value.made[11:19]), measured \(.value.done[11:23])"
      + (if .value.attempts > 1 then ", attempt \(.value.attempts)" else "" end)' | while IFS= read -r line; do note "$line"; done
}

# How many routine runs, all made before the stat run, had their analysis end after its.
overtaken() {
  kubectl -n "$NAMESPACE" get mrun -o json | jq '
    [.items[] | {name: .metadata.name, done: .status.steps.measure.finishedAt?} | select(.done)]
    | (map(select(.name == "stat"))[0].done // "") as $stat
    | map(select((.name | startswith("routine-")) and $stat != "" and .done > $stat)) | length'
}

show_notes() {
  local study
  for study in $STUDIES; do note "$(printf '%-11s %s' "$study" "$(study_note "$study" || echo '(nothing)')")"; done
}

# All runs succeeded, and the archive holds for each study what its run says it wrote.
check_outcome() {
  local study phase said bad=0
  for study in $STUDIES; do
    phase=$(kubectl -n "$NAMESPACE" get mrun "$study" -o jsonpath='{.status.phase}')
    said=$(kubectl -n "$NAMESPACE" get mrun "$study" -o jsonpath='{.status.outputs.note}')
    if [ "$phase" != Succeeded ]; then note "run $study is ${phase:-unknown}"; bad=1; fi
    if [ -z "$said" ] || [ "$(study_note "$study")" != "$said" ]; then
      note "study $study: the run says '$said', the archive '$(study_note "$study" || true)'"
      bad=1
    fi
  done
  # The same slice of the same file: its noise was computed once by other means, with numpy.
  case "$(study_note stat)" in *"noise 27.5 HU over $SLICES slices"*) ;; *) note 'the figure for the stat study is not 27.5 HU'; bad=1 ;; esac
  case "$(study_note incomplete)" in incomplete:*) ;; *) note 'the incomplete study is not marked as such'; bad=1 ;; esac
  # On a cluster of unknown size nobody may have had to wait.
  if [ "$CLUSTER" = node ] && [ "$(overtaken)" -lt 1 ]; then note 'the stat run has overtaken nobody'; bad=1; fi
  return $bad
}

# The pod of the stat run carries the highest priority, by Kubernetes' own account.
show_priorities() {
  kubectl get priorityclasses -o json | jq -r '
    [.items[] | select(.metadata.name | startswith("medley-"))] | sort_by(-.value) | map("\(.metadata.name) \(.value)") | join(", ")' |
    while IFS= read -r line; do note "$line"; done
}
