#!/usr/bin/env bash
# Injects faults into a deployed environment, and reports which promises it kept. It creates canary
# cases; repeats, delays and contradicts the events of the pipeline; deletes and repeats tasks;
# repeats starts and cancels. It leaves out the faults that need the sample pipeline. It takes
# minutes.
#
# It exits with 0 if every promise was kept, with 1 if one was broken, and with 2 if the drill, or
# one of its faults, was not possible. Your account may create and delete tasks, act as the account
# of the tasks, and publish events of the pipeline.
#
#   deploy/gcp/drill.sh ENV [--only FAULT,FAULT] [--json] [--yes-purge]
#
# --yes-purge also purges the queues, with the tasks of EVERY case, and stops them for a moment. No
# open case then continues before the next sweep. Never use it where cases matter.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Only the drill itself exits with 1. Every failure of this script is a 2.
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
. "$GCP/release.sh"
read_services
[ -n "${NEWEST[start]:-}" ] || die "there is no $PREFIX-start in $PROJECT, $REGION"

# Keys and tokens are kept in the work folder, which only this user can read.
umask 077
api_key >"$WORK/api-key" || die 'no API key could be read: API_KEYS has only hashes, or you may not read its secret'
gcloud auth print-access-token >"$WORK/access-token" || die 'gcloud has no credentials: gcloud auth login'
# Only the account of a person has an identity token. Without one the drill leaves out the console.
gcloud auth print-identity-token >"$WORK/id-token" 2>/dev/null || : >"$WORK/id-token"

# The variables of start and check, as they were deployed. For those that are not set, the defaults
# of the settings hold.
live=$(jq --arg prefix "$PREFIX-" '
  [.[] | select(.metadata.name == ($prefix + "start", $prefix + "check")).spec.template.spec.containers[0].env[]?
   | select(.value)]
  | map({(.name): .value}) | add' <<<"$LIVE")
address() { jq -r --arg name "$PREFIX-$1" '.[] | select(.metadata.name == $name).status.url' <<<"$LIVE"; }
sweep=10m # for a schedule that is not simply every N minutes
[[ ! $SWEEP_SCHEDULE =~ ^\*/([0-9]+)\ \*\ \*\ \*\ \*$ ]] || sweep=${BASH_REMATCH[1]}m
[ "$SWEEP_SCHEDULE" != '* * * * *' ] || sweep=1m
form=$CANARY_FORM
[[ $form = /* ]] || form=$GCP/$form

jq -n --arg name "$PREFIX in $PROJECT, $REGION" --arg project "$PROJECT" --arg region "$REGION" --arg prefix "$PREFIX" \
  --argjson live "$live" --arg start "$(address start)" --arg status "$(address status)" \
  --arg console "$(address console)" --arg check "$(address check)" --arg dispatch "$(address dispatch)" \
  --rawfile api_key "$WORK/api-key" --rawfile access "$WORK/access-token" --rawfile id "$WORK/id-token" \
  --slurpfile form "$form" --arg topic "$PIPELINE_EVENTS_TOPIC" --arg sweep "$sweep" \
  --argjson patience "$CANARY_DEADLINE" '
  def line: gsub("\\s"; "");
  ("projects/\($project)/locations/\($region)/queues/") as $queues
  | ($live.QUEUE_SHARDS // "1" | tonumber) as $shards
  | ($queues + ($live.CHECK_QUEUE // ($prefix + "-check"))) as $checks
  | {name: $name, start: $start, status: $status, console: $console, sample_pipeline: "", form: $form[0],
     patience: $patience, api_key: ($api_key | line), access_token: ($access | line), id_token: ($id | line),
     project: $project,
     checks: (if $shards == 1 then [$checks] else [range($shards) | "\($checks)-\(.)"] end),
     dispatch: ($queues + ($live.DISPATCH_QUEUE // ($prefix + "-dispatch"))),
     check_url: ($live.CHECK_URL // $check), dispatch_url: ($live.DISPATCH_URL // $dispatch),
     tasks_account: ($live.TASKS_SERVICE_ACCOUNT // ""), events_topic: $topic, sweep_interval: $sweep,
     check_timeout: ($live.CHECK_TIMEOUT // "10s"), check_min_interval: ($live.CHECK_MIN_INTERVAL // "2s"),
     completion_grace: ($live.COMPLETION_GRACE // "30s"),
     idempotent: ($live.PIPELINE_IDEMPOTENT // "false" | . == "true")}' >"$WORK/target.json"

drill=${DRILL_BINARY:-$WORK/drill} # the tests build it once
[ -x "$drill" ] || (cd "$ROOT" && go build -o "$drill" ./deploy/test/drill)
status=0
"$drill" --target "$WORK/target.json" "$@" || status=$?
