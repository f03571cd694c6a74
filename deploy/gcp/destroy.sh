#!/usr/bin/env bash
# Takes an environment down: what calls first, then what is called. Without --data the store, the secrets, the topics, the
# dead letters and the images stay. Only what is named by PREFIX is deleted, and a store only if it is this environment's.
#
#   deploy/gcp/destroy.sh ENV             asks for the project's id
#   deploy/gcp/destroy.sh ENV --data      the data too, for ever, and Firestore's backups with them after their days
#   deploy/gcp/destroy.sh ENV --yes       does not ask
#   deploy/gcp/destroy.sh ENV --dry-run   prints every command and calls nothing
# shellcheck disable=SC2016 # variables of jq
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
options '--data --yes --dry-run' "$@"
begin "$NAME"
. "$GCP/store.sh"
. "$GCP/release.sh"
. "$GCP/rights.sh"
. "$GCP/monitoring.sh"
MISSING+='|SERVICE_DISABLED|has not been used in project'

# gone NOUN … -- FLAG …: deletes a resource if it is there: gcloud NOUN describe, then gcloud NOUN delete.
gone() {
  local noun=()
  while [ "$1" != -- ]; do noun+=("$1") && shift; done
  shift
  if exists gcloud "${noun[@]}" describe "$@" --project="$PROJECT" || [ -n "$DRY_RUN" ]; then
    run gcloud "${noun[@]}" delete "$@" --project="$PROJECT"
  fi
}
on_project() {
  [ -n "$DRY_RUN" ] || grep -qxF "$1"$'\t'"$2" <<<"$POLICY" || return 0
  run gcloud projects remove-iam-policy-binding "$PROJECT" --role="$1" --member="$2" --condition="$3"
}
# listed_delete FILTER COMMAND …: deletes what a list of monitoring holds of this environment.
listed_delete() {
  local filter=$1 name
  shift
  ask LISTED "$@" list --project="$PROJECT" --format=json
  while read -r name; do
    case $* in
    *channels) run "$@" delete "$name" --force --project="$PROJECT" ;;
    *) run "$@" delete "$name" --project="$PROJECT" ;;
    esac
  done < <(if [ -n "$DRY_RUN" ]; then echo '{NAME}'; else listed "$filter"; fi)
}

if [ -n "$DATA" ] && [ "$STORE_KIND" = firestore ] && exists gcloud firestore databases describe --database="$DATABASE" --project="$PROJECT"; then
  owner=$(store_owner) || exit 1
  [ "$owner" = "$PREFIX" ] || die "nothing was deleted: the database $DATABASE belongs to ${owner:-nobody}, not to $PREFIX"
fi
say "From $PROJECT, for ever: the functions, queues with their tasks, job, subscription, alerts and accounts of $PREFIX"
if [ -n "$DATA" ]; then
  case $STORE_KIND in
  firestore) note "and its data: the database $DATABASE with every case, secrets, topics, dead letters, images" ;;
  cloudsql) note "and its data: the database $PREFIX in $CLOUD_SQL_INSTANCE with every case, secrets, topics, dead letters, images" ;;
  *) note 'and its secrets, topics, dead letters, images; the store is not ours to delete' ;;
  esac
fi
note '(Events that complete has not taken yet go with the subscription. The queues cannot be made again under these names for days.)'
if [ -z "$YES$DRY_RUN" ]; then
  printf '\nType the id of the project to go on: '
  read -r answer || answer=
  [ "$answer" = "$PROJECT" ] || die 'nothing was deleted'
fi

gone scheduler jobs -- "$PREFIX-sweep" --location="$REGION"
gone pubsub subscriptions -- "$PREFIX-complete"
for f in cancel status start console sweep complete check dispatch; do # the console too if the file has none now
  gone run services -- "$PREFIX-$f" --region="$REGION"
done
for name in $CHECK_QUEUES $DISPATCH_QUEUE; do
  gone tasks queues -- "$name" --location="$REGION"
done
listed_delete '.[] | select(.userLabels.casewatch == $prefix).name' gcloud alpha monitoring policies
listed_delete '.[] | select(.labels.casewatch == $prefix).name' gcloud monitoring dashboards
listed_delete '.[] | select(.userLabels.casewatch == $prefix).name' gcloud beta monitoring channels
ask LISTED gcloud monitoring uptime list-configs --project="$PROJECT" --format=json
for name in $(if [ -n "$DRY_RUN" ]; then echo '{NAME}'; else listed '.[] | select(.userLabels.casewatch == $prefix).name | split("/") | last'; fi); do
  run gcloud monitoring uptime delete "$name" --project="$PROJECT"
done
for file in "$GCP"/monitoring/metrics/*.yaml; do
  gone logging metrics -- "$PREFIX-$(basename "$file" .yaml)"
done
POLICY=
ask POLICY gcloud projects get-iam-policy "$PROJECT" --flatten='bindings[].members' --format='value(bindings.role, bindings.members)'
each_project_grant
for name in $FUNCTIONS tasks push scheduler build; do
  gone iam service-accounts -- "$(account "$name")"
done
if exists gcloud storage buckets describe "gs://$BUCKET" --project="$PROJECT" || [ -n "$DRY_RUN" ]; then
  run gcloud storage rm "gs://$BUCKET" --recursive --project="$PROJECT"
fi

if [ -n "$DATA" ]; then
  gone pubsub subscriptions -- "$PREFIX-dead-letter"
  for name in "$PIPELINE_EVENTS_TOPIC" "$ENDED_TOPIC" "$DEAD_LETTER_TOPIC"; do
    gone pubsub topics -- "$name"
  done
  case $STORE_KIND in
  firestore)
    if [ -n "$DRY_RUN" ] || exists gcloud firestore databases describe --database="$DATABASE" --project="$PROJECT"; then
      run gcloud firestore databases update --database="$DATABASE" --no-delete-protection --project="$PROJECT"
      run gcloud firestore databases delete --database="$DATABASE" --project="$PROJECT"
    fi
    ;;
  cloudsql)
    # The secret says that the database is ours. The instance goes with its last database, if this environment made it.
    if [ -n "$DRY_RUN" ] || { exists gcloud secrets describe "$PREFIX-store" --project="$PROJECT" &&
      exists gcloud sql databases describe "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT"; }; then
      run gcloud sql databases delete "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT"
      run gcloud sql users delete "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT"
      others='' owner=''
      ask others gcloud sql databases list --instance="$CLOUD_SQL_INSTANCE" --filter='name!=postgres' --project="$PROJECT" --format='value(name)'
      ask owner gcloud sql instances describe "$CLOUD_SQL_INSTANCE" --project="$PROJECT" --format='value(settings.userLabels.casewatch)'
      if [ -n "$DRY_RUN" ] || [ "$others/$owner" = "/$PREFIX" ]; then
        run gcloud sql instances patch "$CLOUD_SQL_INSTANCE" --no-deletion-protection --project="$PROJECT"
        run gcloud sql instances delete "$CLOUD_SQL_INSTANCE" --project="$PROJECT"
      else
        note "the instance $CLOUD_SQL_INSTANCE stays: made by ${owner:-somebody else}, other databases: ${others:-none}"
      fi
    fi
    ;;
  esac
  for name in $SECRETS; do
    gone secrets -- "$PREFIX-$name"
  done
  gone artifacts repositories -- "$PREFIX" --location="$REGION"
fi
say 'Done. (Cloud Tasks gives out the name of a deleted queue only after some days: until then, deploy under another PREFIX.)'
