#!/usr/bin/env bash
# Sends all traffic back to the revisions that served before the last release (the tag "previous"
# names them), and runs a canary case through them. Settings, secrets and image are those of the old
# revision. Queues, subscriptions, rights and records stay as they are: two releases can work on the
# same records. The next deploy.sh puts the files in effect again.
#
#   deploy/gcp/rollback.sh ENV [--dry-run]
#
# To use any other revision, run these commands for each function:
#   gcloud run revisions list --service=PREFIX-FUNCTION --region=REGION --project=PROJECT
#   gcloud run services update-traffic PREFIX-FUNCTION --to-revisions=REVISION=100 \
#     --region=REGION --project=PROJECT
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
options '--dry-run' "$@"
begin "$NAME"
. "$GCP/release.sh"

read_services
REVISIONS=
ask REVISIONS gcloud run revisions list --region="$REGION" --project="$PROJECT" \
  --format='value(metadata.creationTimestamp, metadata.name, metadata.labels.casewatch-release)'
release_of() { awk -v name="$1" '$2 == name { print $3 }' <<<"$REVISIONS"; }
# The last release is that of the newest revision that serves. A function that serves another
# release stays as it is.
newest=$(awk -v serving=" ${SERVING[*]} " 'index(serving, " " $2 " ")' <<<"$REVISIONS" | sort | tail -n 1 | cut -f 3)

back=()
for f in $FUNCTIONS; do
  now=${SERVING[$f]:-} before=${PREVIOUS[$f]:-}
  if [ -n "$DRY_RUN" ]; then
    back=("$f {OLD_REVISION_OF_$f} {OLD_REVISION_OF_$f}" "${back[@]}")
  elif [ -z "$before" ] || [ "$before" = "$now" ] || [ "$(release_of "$now")" != "$newest" ]; then
    note "$f stays at ${now:-no revision}"
  else
    note "$f goes from $now to $before"
    back=("$f $before $before" "${back[@]}") # in the reverse order of a promotion: the public functions first
  fi
done
[ "${#back[@]}" != 0 ] || die 'nothing was changed: there is no revision that served before'
say 'Traffic goes back'
restore_traffic "${back[@]}"
[ -z "$DRY_RUN" ] || exit 0
"$GCP/smoke.sh" "$ENV_FILE" ||
  die 'traffic is back, but the canary did not succeed: the release is not the problem, or not the only one'
