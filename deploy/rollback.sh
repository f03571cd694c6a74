#!/usr/bin/env bash
# Sends all traffic back to what served before: of every function that the newest serving release changed, the revision that served when it was
# deployed. Twice goes back two releases. Then a canary case is taken to its end. Settings, secrets and image come back with a revision; queues,
# subscriptions, rights and records stay as they are (two releases can work on the same records).
#
#   deploy/rollback.sh ENV                   the release before
#   deploy/rollback.sh ENV --to 12           as it was after release 12
#   deploy/rollback.sh ENV --to SOURCE       as it was with this source: casewatch-source of a revision's labels
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib/begin.sh"
. "$DEPLOY/lib/live.sh"
. "$DEPLOY/lib/services.sh"

usage='usage: rollback.sh ENV [--to RELEASE-OR-SOURCE]'
[ "$#" = 1 ] || { [ "$#" = 3 ] && [ "$2" = --to ]; } || die "$usage"
begin "$1"
echo '[{"name": "x/run.googleapis.com"}]' >"$STATE/apis.json"
list services run gcloud run services list --region="$REGION"
list revisions run gcloud run revisions list --region="$REGION"
all_read

# For every service: its name, what serves, and what is to serve; the public ones first, which the others then never call by a newer way.
jq -r --arg prefix "$PREFIX" --arg to "${3:-}" --slurpfile revisions "$STATE/revisions.json" --argjson order "$(get '[.services | reverse | .[].name]' | jq -sc 'add // []')" '
  ($revisions[0] | map({key: .metadata.name, value: {
    name: .metadata.name,
    release: (.metadata.labels["casewatch-release"] // "0" | tonumber),
    source: .metadata.labels["casewatch-source"],
    before: .metadata.labels["casewatch-before"],
    ready: any(.status.conditions[]?; .type == "Ready" and .status == "True")
  }}) | from_entries) as $all
  # what served, newest first: from the revision that serves along what served before each
  | def chain: recurse(if (.before // "") != "" then $all[.before] // empty else empty end);
  [.[] | select(.metadata.labels.casewatch == $prefix)
    | {name: .metadata.name, serving: ([.status.traffic[]? | select((.percent // 0) > 0)] | sort_by(-.percent) | .[0].revisionName)}
    | .revision = $all[.serving]] as $services
  | ($services | map(.revision.release // 0) | max // 0) as $last
  | $order[] as $name | $services[] | select(.name == $name)
  | . as $s
  | (if $to == "" then
       (if (.revision.release // 0) == $last then .revision.before // "" else .serving end)
     elif ($to | test("^[0-9]{1,9}$")) then
       (first(.revision | chain | select(.release <= ($to | tonumber)) | .name) // "")
     else
       (first(.revision | chain | select(.source == $to) | .name) // "")
     end) as $target
  # one that is complete and has nothing from then is of a function that was not there yet
  | ($s.revision != null and ([$s.revision | chain] | last | (.before // "") == "")) as $newer
  | [$s.name, $s.serving // "-", (if $target != "" then $target elif $newer then "+" else "-" end), ($all[$target].ready // false | tostring)] | join("\t")' \
  "$STATE/services.json" >"$WORK/targets"

[ -s "$WORK/targets" ] || die "there are no services of $PREFIX in $PROJECT, $REGION"
changed=0 added=
while IFS=$'\t' read -r name from target ready; do
  [ "$target" != - ] || die "nothing was changed: $name has nothing to go back to${3:+ for $3}"
  if [ "$target" = + ]; then
    added=$name
    continue
  fi
  [ "$target" = "$from" ] || changed=$((changed + 1))
  [ "$target" = "$from" ] || [ "$ready" = true ] || die "nothing was changed: $target of $name is not there any more, or not ready"
done <"$WORK/targets"
[ "$changed" != 0 ] || [ -z "$added" ] || die "nothing was changed: $added has nothing to go back to${3:+ for $3}"
[ "$changed" != 0 ] || die 'that is what serves already'

say "Traffic of $changed functions goes back"
while IFS=$'\t' read -r name from target _; do
  if [ "$target" = + ]; then
    note "ok: $name serves $from: it was not there before"
    continue
  fi
  if [ "$target" = "$from" ]; then
    note "ok: $name serves $target"
    continue
  fi
  flags=()
  [ -z "$(tagged "$name")" ] || flags+=(--remove-tags=candidate)
  run gcloud run services update-traffic "$name" --to-revisions="$target=100" "${flags[@]}" --region="$REGION" --project="$PROJECT"
done <"$WORK/targets"

say 'Canary'
"$DEPLOY/smoke.sh" "$ENV_FILE" || die 'traffic is back, and the canary did not succeed: what is wrong is not, or not only, the release'
say 'Done. The next deploy.sh makes live again what the tree and the env file say.'
