#!/usr/bin/env bash
# Sends all traffic back to the revisions that served before the last release, which the tag "previous" names, and takes a
# canary case through them. Settings, secrets and image come back with a revision; queues, subscriptions, rights and records
# stay as they are: two releases can work on the same records. The next deploy.sh makes live what the tree and the env file say.
#
#   deploy/gcp/rollback.sh ENV [--dry-run]
#
# Any other revision, by hand, for each function:
#   gcloud run revisions list --service=PREFIX-FUNCTION --region=REGION --project=PROJECT
#   gcloud run services update-traffic PREFIX-FUNCTION --to-revisions=REVISION=100 --region=REGION --project=PROJECT
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
# The release to take back is that of the newest revision that serves. A function that does not serve it stays as it is.
newest=$(awk -v serving=" ${SERVING[*]} " 'index(serving, " " $2 " ")' <<<"$REVISIONS" | sort | tail -n 1 | cut -f 3)

back=()
for f in $FUNCTIONS; do
  now=${SERVING[$f]:-} before=${PREVIOUS[$f]:-}
  if [ -n "$DRY_RUN" ]; then
    back=("$f" "${back[@]}")
  elif [ -z "$before" ] || [ "$before" = "$now" ] || [ "$(release_of "$now")" != "$newest" ]; then
    note "$f stays at ${now:-nothing}"
  else
    note "$f goes from $now to $before"
    back=("$f" "${back[@]}") # the public ones first
  fi
done
[ "${#back[@]}" != 0 ] || die 'nothing was changed: there is no revision that served before'
say 'Traffic goes back'
traffic_back "${back[@]}"
[ -z "$DRY_RUN" ] || exit 0
"$GCP/smoke.sh" "$ENV_FILE" || die 'traffic is back, and the canary did not succeed: what is wrong is not, or not only, the release'
