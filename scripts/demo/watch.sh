# shellcheck shell=bash
# What a person sees while the runs go on: one line for each change of a step or of a run.

# One line for each change between what was last seen of a run and what came now.
# shellcheck disable=SC2016 # jq's variables
CHANGES='
  def line($o; $step; $phase; $more):
    [(now | strflocaltime("%H:%M:%S")), $o.metadata.name, ($o.status.urgency // $o.spec.urgency // "-"), $step, $phase, $more] | @tsv;
  foreach inputs as $event ({};
    $event.object as $o | (.seen[$o.metadata.name] // {}) as $old
    | ([$o.status.steps // {} | to_entries[] | {key, value: "\(.value.phase) \(.value.attempt // 1)"}] | from_entries) as $steps
    | .seen[$o.metadata.name] = $steps + {"": ($o.status.phase // "")}
    | .lines = [
        ($o.status.steps // {} | to_entries | sort_by(.value.startedAt // .value.finishedAt // "")[]
          | select($old[.key] != $steps[.key])
          | line($o; .key; .value.phase;
              (.value | if (.phase | IN("Retrying", "Failed", "Unknown", "Canceled")) then [.reason // empty, .message // empty]
                elif .phase == "Succeeded" then [.outputs // {} | select(. != {}) | tojson]
                else [.pod // empty] end) | join(" "))),
        (($o.status.phase // "") as $phase | select($phase != "" and $old[""] != $phase)
          | line($o; "run"; $phase; ($o.status.outputs.note // "")))
      ];
    .lines[])'

# follow COUNT SECONDS : prints changes until COUNT runs are over.
follow() {
  local left=$1 watcher line pipe=$STATE/watch
  rm -f "$pipe"
  mkfifo "$pipe"
  timeout "$2" kubectl -n "$NAMESPACE" get mrun --watch --output-watch-events -o json >"$pipe" 2>/dev/null 9>&- &
  watcher=$!
  printf '   %-8s  %-11s %-8s %-7s %-10s\n' time run urgency step phase
  while IFS= read -r line; do
    awk -F '\t' '{ printf "   %-8s  %-11s %-8s %-7s %-10s %s\n", $1, $2, $3, $4, $5, $6 }' <<<"$line"
    case $line in *$'\trun\tSucceeded'* | *$'\trun\tFailed'* | *$'\trun\tCanceled'*) left=$((left - 1)) ;; esac
    [ "$left" -gt 0 ] || break
  done < <(jq --unbuffered -rn "$CHANGES" <"$pipe")
  kill "$watcher" 2>/dev/null || true
  wait "$watcher" 2>/dev/null || true
  [ "$left" -eq 0 ]
}
