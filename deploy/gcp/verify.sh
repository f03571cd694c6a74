#!/usr/bin/env bash
# Compares what is live with the files that deploy.sh works from: services and their traffic,
# secrets, accounts, rights, the store with its indexes and expiry, queues, topics, subscriptions,
# the job, metrics, alerts, uptime checks, the dashboard. It changes nothing, prints a line for each
# difference, and exits with 1 if there is one.
#
#   deploy/gcp/verify.sh ENV [--dry-run]
# shellcheck disable=SC2016 # variables of jq
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
options '--dry-run' "$@"
begin "$NAME"
. "$GCP/store.sh"
. "$GCP/release.sh"
. "$GCP/rights.sh"
. "$GCP/monitoring.sh"
MISSING+='|SERVICE_DISABLED|has not been used in project'

COUNT=0
differs() {
  echo "$*"
  COUNT=$((COUNT + 1))
}
# describe WHAT COMMAND …: runs a describe command. Its answer is in $WORK/out. A missing resource
# is a difference.
describe() {
  local what=$1
  shift
  ! exists "$@" --project="$PROJECT" --format=json || return 0
  [ -n "$DRY_RUN" ] || differs "$what: is not there"
  return 1
}
# compare WHAT FILE: compares $WORK/out with a file that says what is wanted.
compare() {
  local line
  while read -r line; do differs "$line"; done < <("$SETTINGS" compare "$1" "$2" "$WORK/out" 2>&1)
}
# expect WHAT COMMAND …: compares the answer of a describe command with the YAML on the input.
expect() {
  cat >"$WORK/wanted"
  ! describe "$@" || compare "$1" "$WORK/wanted"
}

say "What is live of $PREFIX in $PROJECT"
ask APIS gcloud services list --enabled --project="$PROJECT" --format='value(config.name)'
for name in artifactregistry cloudbuild cloudscheduler cloudtasks iam logging monitoring pubsub run secretmanager; do
  [ -n "$DRY_RUN" ] || grep -qx "$name.googleapis.com" <<<"$APIS" || differs "API $name: is not enabled"
done
for name in $FUNCTIONS tasks push scheduler build; do
  describe "account $name" gcloud iam service-accounts describe "$(account "$name")" || true
done
describe "repository $PREFIX" gcloud artifacts repositories describe "$PREFIX" --location="$REGION" || true

say 'Functions'
read_versions
for name in $SECRETS; do
  [ -n "${VERSION[$name]}" ] || differs "secret $PREFIX-$name: has no enabled version"
done
read_services
RELEASE=${LIVE_RELEASE[start]:-} IMAGE=${LIVE_IMAGE[start]:-}
[ -n "$DRY_RUN" ] || [[ $IMAGE = "$REPOSITORY"@sha256:* ]] ||
  differs "service $PREFIX-start: its image is ${IMAGE:-not there}, should be one of $REPOSITORY, by digest"
for f in $FUNCTIONS; do
  name="service $PREFIX-$f"
  describe "$name" gcloud run services describe "$PREFIX-$f" --region="$REGION" || continue
  ATTEMPT=${LIVE_ATTEMPT[$f]:-} TRAFFIC=''
  service "$f"
  compare "$name" "$WORK/$PREFIX-$f.yaml"
  [ "${SERVING[$f]:-}" = "${READY[$f]:-}" ] ||
    differs "$name: ${SERVING[$f]:-no revision} has all of the traffic, should be the newest, ${READY[$f]:-}"
  [ -z "${CANDIDATE[$f]:-}" ] || differs "$name: has a candidate, ${CANDIDATE[$f]}, that was not promoted"
done
while read -r line; do
  [ -z "$line" ] || differs "service $line"
done < <([ -n "$DRY_RUN" ] || jq -r --arg console "$PREFIX-console/$CONSOLE_IAP" '
  .[] | .metadata.name as $name
  | (.spec.template.spec.containers[0].env[]?
     | select(.name != "ALLOWED_ORIGINS" and (.value // "" | test("localhost|127[.]|\\[::1")))
     | "\($name): \(.name) is \(.value), a loopback address"),
    ((.metadata.annotations["run.googleapis.com/iap-enabled"] // "" | ascii_downcase) as $iap
     | select($iap == "true" and $name + "/true" != $console)
     | "\($name): is behind Identity-Aware Proxy, should not be")' <<<"$LIVE")
[[ " $FUNCTIONS " = *' console '* ]] || [ -z "${NEWEST[console]:-}" ] ||
  differs "service $PREFIX-console: is there, and CONSOLE_USERS is not set"

say 'Rights'
# policy KIND NAME: compares the policy of a resource with the grants. rights.sh calls it.
policy() {
  local wanted live=
  wanted=$(printf '%s\n' "${GRANTS[@]}" | LC_ALL=C sort -u)
  GRANTS=()
  policy_command get "$1" "$2"
  exists "${COMMAND[@]}" --flatten='bindings[].members' --format='value(bindings.role, bindings.members)' || {
    [ -n "$DRY_RUN" ] || differs "policy of $1 $2: is not there"
    return 0
  }
  live=$(tr '\t' ' ' <"$WORK/out" | LC_ALL=C sort -u)
  while IFS= read -r line; do
    case $line in
    $'\t'?*) differs "policy of $1 $2: ${line#?} is granted, should not be" ;;
    ?*) differs "policy of $1 $2: $line is not granted" ;;
    esac
  done < <(LC_ALL=C comm -3 <(echo "$wanted") <(echo "$live"))
}
POLICY=
ask POLICY gcloud projects get-iam-policy "$PROJECT" --flatten='bindings[].members' \
  --format='value(bindings.role, bindings.members, bindings.condition.expression)'
on_project() {
  local condition=${3#expression=}
  condition=${condition%,title=*}
  [ -n "$DRY_RUN" ] || grep -qxF "$1"$'\t'"$2"$'\t'"${condition#None}" <<<"$POLICY" ||
    differs "policy of project $PROJECT: $1 $2 is not granted"
}
project_grants
resource_policies
service_policies
subscription_policy

say 'Store'
case $STORE_KIND in
firestore)
  if expect "database $DATABASE" gcloud firestore databases describe --database="$DATABASE" <<<"
type: FIRESTORE_NATIVE
locationId: $FIRESTORE_LOCATION
pointInTimeRecoveryEnablement: POINT_IN_TIME_RECOVERY_ENABLED
deleteProtectionState: DELETE_PROTECTION_ENABLED"; then
    schedules='' indexes='' fields='' kept=$((BACKUP_DAYS * 86400))s
    ask schedules gcloud firestore backups schedules list --database="$DATABASE" --project="$PROJECT" \
      --format='value(retention)'
    ask indexes gcloud firestore indexes composite list --database="$DATABASE" --filter=state=READY \
      --project="$PROJECT" --format=json
    ask fields gcloud firestore indexes fields list --database="$DATABASE" --project="$PROJECT" --format=json
    if [ -z "$DRY_RUN" ]; then
      owner=$(store_owner) || exit 1
      [ "$owner" = "$PREFIX" ] || differs "database $DATABASE: its owner is ${owner:-not set}, should be $PREFIX"
      [ "$schedules" = "$kept" ] ||
        differs "database $DATABASE: its backups are kept for ${schedules:-no time}, should be $kept"
      while IFS=$'\t' read -r state group name flags; do
        case $state/$flags in
        there/*) ;;
        */--field-config=*) differs "index $group$name: is not there, or not ready" ;;
        *) differs "field $group.$name: should be $flags" ;;
        esac
      done < <(compare_indexes "$indexes" "$fields")
    fi
  fi
  ;;
cloudsql)
  expect "instance $CLOUD_SQL_INSTANCE" gcloud sql instances describe "$CLOUD_SQL_INSTANCE" <<<"
databaseVersion: $CLOUD_SQL_VERSION
region: $REGION
settings:
  tier: $CLOUD_SQL_TIER
  availabilityType: ${CLOUD_SQL_AVAILABILITY^^}
  connectorEnforcement: REQUIRED
  deletionProtectionEnabled: true
  backupConfiguration: {enabled: true, pointInTimeRecoveryEnabled: true}"
  describe "database $PREFIX" gcloud sql databases describe "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" || true
  ;;
esac

say 'Topics, queues, subscriptions, job'
for name in "$PIPELINE_EVENTS_TOPIC" "$ENDED_TOPIC" "$DEAD_LETTER_TOPIC"; do
  describe "topic $name" gcloud pubsub topics describe "$name" || true
done
queue() { # NAME RATE CONCURRENCY LOG-SHARE
  expect "queue $1" gcloud tasks queues describe "$1" --location="$REGION" <<<"
state: RUNNING
rateLimits: {maxDispatchesPerSecond: $2, maxConcurrentDispatches: $3}
retryConfig: {maxAttempts: -1, maxRetryDuration: 0s, minBackoff: 1s, maxBackoff: 60s, maxDoublings: 6}
stackdriverLoggingConfig: {samplingRatio: $4}"
}
for name in $CHECK_QUEUES; do
  queue "$name" 500 "$CHECK_CONCURRENCY" 0.01
done
for name in $DISPATCH_QUEUES; do
  IFS=: read -r name rate concurrency <<<"$name"
  queue "$name" "$rate" "$concurrency" 1
done
expect "subscription $PREFIX-dead-letter" gcloud pubsub subscriptions describe "$PREFIX-dead-letter" <<<"
topic: projects/$PROJECT/topics/$DEAD_LETTER_TOPIC
ackDeadlineSeconds: 60
messageRetentionDuration: 2678400s"
expect "subscription $PREFIX-complete" gcloud pubsub subscriptions describe "$PREFIX-complete" <<<"
topic: projects/$PROJECT/topics/$PIPELINE_EVENTS_TOPIC
ackDeadlineSeconds: 600
messageRetentionDuration: 604800s
retryPolicy: {minimumBackoff: 1s, maximumBackoff: 600s}
pushConfig:
  pushEndpoint: $(url complete)
  oidcToken: {serviceAccountEmail: '$(account push)', audience: '$(url complete)'}
deadLetterPolicy: {deadLetterTopic: 'projects/$PROJECT/topics/$DEAD_LETTER_TOPIC', maxDeliveryAttempts: 100}"
expect "job $PREFIX-sweep" gcloud scheduler jobs describe "$PREFIX-sweep" --location="$REGION" <<<"
state: ENABLED
schedule: '$SWEEP_SCHEDULE'
timeZone: Etc/UTC
attemptDeadline: ${SWEEP_ATTEMPT}s
httpTarget:
  uri: $(url sweep)
  httpMethod: POST
  oidcToken: {serviceAccountEmail: '$(account scheduler)', audience: '$(url sweep)'}"

say 'Metrics, alerts, uptime checks, dashboard'
unknown='{NAME}' # the name of a resource in a dry run
for file in "$GCP"/monitoring/metrics/*.yaml; do
  name=${file##*/} && name=$PREFIX-${name%.yaml}
  fill "$file" >"$WORK/wanted"
  ! describe "metric $name" gcloud logging metrics describe "$name" || compare "metric $name" "$WORK/wanted"
done
find_channels || [ -n "$DRY_RUN" ] || differs "channel $ALERT_EMAIL: is not there"
read_alerts
for file in "$GCP"/monitoring/alerts/*.json; do
  name=${file##*/} && name=${name%.json}
  fill "$file" >"$WORK/wanted"
  if [ -z "${ALERT[$name]:-}" ] && [ -z "$DRY_RUN" ]; then
    differs "alert $name: is not there"
    continue
  fi
  ! describe "alert $name" gcloud alpha monitoring policies describe "${ALERT[$name]:-$unknown}" ||
    compare "alert $name" "$WORK/wanted"
  [ "${ENABLED[$name]:-true}" = true ] || differs "alert $name: is disabled"
done
read_dashboard
fill "$GCP/monitoring/dashboard.json" >"$WORK/wanted"
if [ -n "$DASHBOARD$DRY_RUN" ]; then
  ! describe dashboard gcloud monitoring dashboards describe "${DASHBOARD:-$unknown}" ||
    compare dashboard "$WORK/wanted"
else
  differs 'dashboard: is not there'
fi
read_uptime
uptime() { # TITLE HOST PATH STATUS
  local codes='{statusValue: 403}, {statusValue: 404}'
  [ "$4" != 2xx ] || codes='{statusClass: STATUS_CLASS_2XX}'
  cat >"$WORK/wanted" <<<"
period: 300s
monitoredResource: {labels: {host: $2}}
httpCheck: {path: $3, useSsl: true, acceptedResponseStatusCodes: [$codes]}"
  if [ -n "${UPTIME[$1]:-$DRY_RUN}" ]; then
    ! describe "uptime check $1" gcloud monitoring uptime describe "${UPTIME[$1]:-$unknown}" ||
      compare "uptime check $1" "$WORK/wanted"
  else
    differs "uptime check $1: is not there"
  fi
}
uptime_checks

[ -z "$DRY_RUN" ] || exit 0
if [ "$COUNT" != 0 ]; then
  echo "$COUNT differences between $PROJECT and $ENV_FILE" >&2
  exit 1
fi
say "$PROJECT is as $(basename "$ENV_FILE") says"
