#!/usr/bin/env bash
# Deletes an environment: callers first, then what they call. Without --data, the store, the
# secrets, the topics, the dead letters and the images stay. It deletes only resources whose names
# begin with PREFIX, and a store only if this environment owns it.
#
#   deploy/gcp/destroy.sh ENV             asks for the project's id before it begins
#   deploy/gcp/destroy.sh ENV --data      also deletes the data, but not the backups of Firestore
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

# delete NOUN … -- FLAG …: deletes a resource if it exists: gcloud NOUN describe, then gcloud NOUN
# delete.
delete() {
  local noun=()
  while [ "$1" != -- ]; do noun+=("$1") && shift; done
  shift
  if exists gcloud "${noun[@]}" describe "$@" --project="$PROJECT" || [ -n "$DRY_RUN" ]; then
    run gcloud "${noun[@]}" delete "$@" --project="$PROJECT"
  fi
}
# on_project ROLE MEMBER CONDITION: removes a binding of the project. rights.sh calls it.
on_project() {
  [ -n "$DRY_RUN" ] || grep -qxF "$1"$'\t'"$2" <<<"$POLICY" || return 0
  run gcloud projects remove-iam-policy-binding "$PROJECT" --role="$1" --member="$2" --condition="$3"
}
# delete_listed FIELD COMMAND …: deletes the resources of monitoring whose label, in FIELD, names
# this environment.
delete_listed() {
  local field=$1 label name force=()
  shift
  [[ $* != *channels ]] || force=(--force)
  ask LISTED "$@" list --project="$PROJECT" --format="value[separator=\"|\"]($field, name)"
  [ -z "$DRY_RUN" ] || LISTED="$PREFIX|{NAME}"
  while IFS='|' read -r label name; do
    [ "$label" != "$PREFIX" ] || run "$@" delete "$name" "${force[@]}" --project="$PROJECT"
  done <<<"$LISTED"
}

if [ -n "$DATA" ] && [ "$STORE_KIND" = firestore ] &&
  exists gcloud firestore databases describe --database="$DATABASE" --project="$PROJECT"; then
  owner=$(store_owner) || exit 1
  [ "$owner" = "$PREFIX" ] ||
    die "nothing was deleted: the database $DATABASE belongs to ${owner:-no environment}, not to $PREFIX"
fi
say "Deletes from $PROJECT, for ever, the functions, queues, job, subscription, alerts and accounts of $PREFIX."
if [ -n "$DATA" ]; then
  case $STORE_KIND in
  firestore) note "It also deletes the database $DATABASE with every case." ;;
  cloudsql) note "It also deletes the database $PREFIX in $CLOUD_SQL_INSTANCE with every case." ;;
  *) note 'It does not delete your PostgreSQL database.' ;;
  esac
  note 'It also deletes the secrets, topics, dead letters and images.'
fi
note 'Events that complete has not acknowledged are lost with the subscription, and tasks with their queues.'
note 'Cloud Tasks does not allow the names of the queues again for some days.'
if [ -z "$YES$DRY_RUN" ]; then
  printf '\nType the id of the project to continue: '
  read -r answer || answer=
  [ "$answer" = "$PROJECT" ] || die 'nothing was deleted'
fi

delete scheduler jobs -- "$PREFIX-sweep" --location="$REGION"
delete pubsub subscriptions -- "$PREFIX-complete"
for f in callback cancel status start console sweep complete check dispatch; do # a console even if the env file has none
  delete run services -- "$PREFIX-$f" --region="$REGION"
done
for name in $CHECK_QUEUES $DISPATCH_QUEUES; do
  name=${name%%:*} # of NAME:RATE:CONCURRENCY
  delete tasks queues -- "$name" --location="$REGION"
done
delete_listed userLabels.casewatch gcloud alpha monitoring policies
delete_listed labels.casewatch gcloud monitoring dashboards
delete_listed userLabels.casewatch gcloud beta monitoring channels
read_uptime
[ -z "$DRY_RUN" ] || UPTIME=([title]='{NAME}')
for id in "${UPTIME[@]}"; do
  run gcloud monitoring uptime delete "$id" --project="$PROJECT"
done
for file in "$GCP"/monitoring/metrics/*.yaml; do
  delete logging metrics -- "$PREFIX-$(basename "$file" .yaml)"
done
POLICY=
ask POLICY gcloud projects get-iam-policy "$PROJECT" --flatten='bindings[].members' \
  --format='value(bindings.role, bindings.members)'
project_grants
for name in $FUNCTIONS tasks push scheduler build; do
  delete iam service-accounts -- "$(account "$name")"
done
if exists gcloud storage buckets describe "gs://$BUCKET" --project="$PROJECT" || [ -n "$DRY_RUN" ]; then
  run gcloud storage rm "gs://$BUCKET" --recursive --project="$PROJECT"
fi

if [ -n "$DATA" ]; then
  delete pubsub subscriptions -- "$PREFIX-dead-letter"
  for name in "$PIPELINE_EVENTS_TOPIC" "$ENDED_TOPIC" "$DEAD_LETTER_TOPIC"; do
    delete pubsub topics -- "$name"
  done
  case $STORE_KIND in
  firestore)
    if [ -n "$DRY_RUN" ] ||
      exists gcloud firestore databases describe --database="$DATABASE" --project="$PROJECT"; then
      run gcloud firestore databases update --database="$DATABASE" --no-delete-protection --project="$PROJECT"
      run gcloud firestore databases delete --database="$DATABASE" --project="$PROJECT"
    fi
    ;;
  cloudsql)
    # The secret proves that this environment owns the database. The instance is deleted with its
    # last database, if this environment created it.
    if [ -n "$DRY_RUN" ] || { exists gcloud secrets describe "$PREFIX-store" --project="$PROJECT" &&
      exists gcloud sql databases describe "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT"; }; then
      run gcloud sql databases delete "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT"
      run gcloud sql users delete "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT"
      others='' owner=''
      ask others gcloud sql databases list --instance="$CLOUD_SQL_INSTANCE" --filter='name!=postgres' \
        --project="$PROJECT" --format='value(name)'
      ask owner gcloud sql instances describe "$CLOUD_SQL_INSTANCE" --project="$PROJECT" \
        --format='value(settings.userLabels.casewatch)'
      if [ -n "$DRY_RUN" ] || [ "$others/$owner" = "/$PREFIX" ]; then
        run gcloud sql instances patch "$CLOUD_SQL_INSTANCE" --no-deletion-protection --project="$PROJECT"
        run gcloud sql instances delete "$CLOUD_SQL_INSTANCE" --project="$PROJECT"
      else
        note "the instance $CLOUD_SQL_INSTANCE stays: its owner is ${owner:-not known}, its databases: ${others:-none}"
      fi
    fi
    ;;
  esac
  for name in $SECRETS; do
    delete secrets -- "$PREFIX-$name"
  done
  delete artifacts repositories -- "$PREFIX" --location="$REGION"
fi
say 'Done. To deploy again before Cloud Tasks allows the names of the queues, use another PREFIX.'
