#!/usr/bin/env bash
# Drills a deployed copy: makes canary cases, repeats, delays and contradicts the pipeline's events, deletes and repeats tasks, repeats starts and cancels, and
# reports which promises were kept. What only the sample pipeline does when asked is skipped. Takes minutes; exits with 0 if every promise was kept, 1 if one was
# broken, 2 if it, or one of its faults, could not be done. Whoever runs it may create and delete tasks, act as the account of the tasks, and publish the pipeline's events.
#
#   deploy/drill.sh ENV [--only FAULT,FAULT] [--json] [--yes-purge]
#
# --yes-purge also purges the queues, with the tasks of EVERY case in them, and stops them for a moment: no open case goes on before a sweep finds it. Never where
# it matters.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib/begin.sh"
. "$DEPLOY/lib/live.sh"
. "$DEPLOY/lib/services.sh"
. "$DEPLOY/lib/canary.sh"

# 1 is for a promise that was broken, and the drill alone says so. Whatever else ends this is 2.
status=2
die() {
  printf 'drill.sh: %s\n' "$*" >&2
  exit 2
}
cleanup() {
  trap - EXIT
  rm -rf "$WORK"
  exit "$status"
}

[[ ${1:--} != -* ]] || die 'usage: drill.sh ENV [--only FAULT,FAULT] [--json] [--yes-purge]'
env=$1
shift
[ -z "$DRY_RUN" ] || die 'a drill has no dry run'
begin "$env"
echo '[{"name": "x/run.googleapis.com"}]' >"$STATE/apis.json"
read_services

# Keys and tokens stay in the work folder, which is this user's alone.
umask 077
api_key >"$WORK/api-key" || die 'no API key could be read: API_KEYS has only hashes, or its secret is not for you'
gcloud auth print-access-token >"$WORK/access-token" || die 'gcloud has no credentials: gcloud auth login'
gcloud auth print-identity-token >"$WORK/id-token" 2>/dev/null || : >"$WORK/id-token" # only people's accounts have one; the console is then left out
console=$(live_service "$PREFIX-console" .status.url)

# What was not set when it was deployed is as the settings' defaults have it.
setting() {
  local found
  found=$(live_setting "$1")
  printf %s "${found:-$2}"
}
schedule=$(get .job.schedule)
sweep=10m # any other schedule
[[ ! $schedule =~ ^\*/([0-9]+)\ \*\ \*\ \*\ \*$ ]] || sweep=${BASH_REMATCH[1]}m
[ "$schedule" != '* * * * *' ] || sweep=1m
form=$(get .canary.form)
[[ $form = /* ]] || form=$DEPLOY/$form

queue="projects/$(setting GOOGLE_CLOUD_PROJECT "$PROJECT")/locations/$(setting TASKS_LOCATION "$REGION")/queues"
jq -n --arg name "$PREFIX in $PROJECT, $REGION" --arg start "$(url start)" --arg status "$(url status)" --arg console "${console%/}" --arg project "$PROJECT" \
  --rawfile api_key "$WORK/api-key" --rawfile access "$WORK/access-token" --rawfile id "$WORK/id-token" --slurpfile form "$form" \
  --arg queue "$queue" --arg check "$(setting CHECK_QUEUE "$PREFIX-check")" --arg dispatch "$(setting DISPATCH_QUEUE "$PREFIX-dispatch")" --argjson shards "$(setting QUEUE_SHARDS 1)" \
  --arg check_url "$(setting CHECK_URL "$(url check)")" --arg dispatch_url "$(setting DISPATCH_URL "$(url dispatch)")" \
  --arg account "$(setting TASKS_SERVICE_ACCOUNT '')" --arg topic "$(get '.subscriptions[] | select(.name | endswith("-complete")).topic')" --arg sweep "$sweep" --argjson patience "$(get .canary.deadline)" \
  --arg timeout "$(setting CHECK_TIMEOUT 10s)" --arg least "$(setting CHECK_MIN_INTERVAL 2s)" --arg grace "$(setting COMPLETION_GRACE 30s)" --argjson idempotent "$(setting PIPELINE_IDEMPOTENT false)" '
  def line: gsub("\\s"; "");
  {name: $name, start: $start, status: $status, console: $console, sample_pipeline: "", form: $form[0], patience: $patience,
   api_key: ($api_key | line), access_token: ($access | line), id_token: ($id | line), project: $project,
   checks: (if $shards == 1 then ["\($queue)/\($check)"] else [range($shards) | "\($queue)/\($check)-\(.)"] end), dispatch: "\($queue)/\($dispatch)",
   check_url: $check_url, dispatch_url: $dispatch_url, tasks_account: $account, events_topic: $topic,
   sweep_interval: $sweep, check_timeout: $timeout, check_min_interval: $least, completion_grace: $grace, idempotent: $idempotent}' >"$WORK/target.json"

(cd "$ROOT" && go build -o "$WORK/drill" ./deploy/drill)
status=0
"$WORK/drill" --target "$WORK/target.json" "$@" || status=$?
