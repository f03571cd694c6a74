#!/usr/bin/env bash
# Deploys Casewatch to the project that an env file names. Every step creates what is missing and updates what is there, in
# this order; run again, it goes on where it broke off. Nothing else in the project is touched.
#
# New revisions get no traffic until a canary case that starts at them has succeeded. Then traffic goes to them, and another
# canary case goes through; if it does not succeed, traffic goes back to what served before.
#
#   deploy/gcp/deploy.sh ENV             ENV names deploy/gcp/env/ENV.env, or is the path of such a file
#   deploy/gcp/deploy.sh ENV --dry-run   prints every command and calls nothing; {NAME} is what only a live project knows
#   deploy/gcp/deploy.sh ENV --rebuild   builds the image even if this source was built before, for the builder's updates
#
# The steps of the store, of a release and of monitoring are in store.sh, release.sh and monitoring.sh; who may do what is in
# rights.sh; what each function is, in service.yaml and functions.txt.
# Needs bash 4.4, gcloud with its alpha and beta components, jq, curl, go and openssl.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
options '--dry-run --rebuild' "$@"
begin "$NAME"
. "$GCP/store.sh"
. "$GCP/release.sh"
. "$GCP/rights.sh"
. "$GCP/monitoring.sh"

# policy, as rights.sh calls it: the policy of a resource is written whole.
policy() {
  local file=$WORK/policy-$1-$2.json text
  text=$(policy_json "$file")
  policy_command set "$1" "$2" "$file"
  run "${COMMAND[@]}"
  printf '     %s\n' "$text"
  GRANTS=()
}
on_project() {
  run gcloud projects add-iam-policy-binding "$PROJECT" --role="$1" --member="$2" --condition="$3"
}

# Whatever ends the script between the promotion and the canary's success sends the traffic back.
on_exit() {
  if [ "$1" != 0 ] && [ "${#PROMOTED[@]}" != 0 ]; then
    say 'Traffic goes back to what served before'
    traffic_back "${PROMOTED[@]}"
  fi
}

say "Casewatch as $PREFIX in $PROJECT, $REGION"
if [ "$CONSOLE_IAP/$ORGANIZATION" = true/ ] && [ -z "$DRY_RUN" ]; then
  note 'CONSOLE_IAP is true and the project has no organization: Identity-Aware Proxy needs an OAuth client of yours'
fi

say 'APIs'
apis=(artifactregistry cloudbuild cloudscheduler cloudtasks iam logging monitoring pubsub run secretmanager storage)
[ "$STORE_KIND" != firestore ] || apis+=(firestore)
[ "$STORE_KIND" != cloudsql ] || apis+=(sqladmin)
[ "$CONSOLE_IAP" != true ] || apis+=(iap)
run gcloud services enable "${apis[@]/%/.googleapis.com}" --project="$PROJECT"

say 'Before anything else is changed: the secrets that only you know, and whose the store is'
given=()
for name in $SECRETS; do
  case $name/$STORE_KIND in
  pipeline-api-key/* | store/secret)
    exists gcloud secrets versions describe latest --secret="$PREFIX-$name" --project="$PROJECT" || given+=("$PREFIX-$name")
    ;;
  esac
done
if [ -z "$DRY_RUN" ] && [ "${#given[@]}" != 0 ]; then
  {
    echo 'Nothing was changed. These secrets have no version. Type the value, then ctrl-D twice, and no return:'
    for name in "${given[@]}"; do
      echo "  gcloud secrets create $name --replication-policy=automatic --project=$PROJECT"
      echo "  gcloud secrets versions add $name --data-file=- --project=$PROJECT"
    done
  } >&2
  exit 1
fi
check_store

say 'Service accounts: one for each function, one for each caller, one that builds'
for name in $FUNCTIONS tasks push scheduler build; do
  exists gcloud iam service-accounts describe "$(account "$name")" --project="$PROJECT" ||
    run gcloud iam service-accounts create "$PREFIX-$name" --display-name="Casewatch $name" --project="$PROJECT"
done

say 'Where images and their source are kept'
exists gcloud artifacts repositories describe "$PREFIX" --location="$REGION" --project="$PROJECT" ||
  run gcloud artifacts repositories create "$PREFIX" --repository-format=docker --location="$REGION" --description='Images of Casewatch' \
    --labels="casewatch=$PREFIX" --project="$PROJECT"
run gcloud artifacts repositories set-cleanup-policies "$PREFIX" --policy="$GCP/cleanup.json" --no-dry-run --location="$REGION" --project="$PROJECT"
exists gcloud storage buckets describe "gs://$BUCKET" --project="$PROJECT" ||
  run gcloud storage buckets create "gs://$BUCKET" --location="$REGION" --uniform-bucket-level-access --public-access-prevention --project="$PROJECT"
run gcloud storage buckets update "gs://$BUCKET" --lifecycle-file="$GCP/source-lifecycle.json" --update-labels="casewatch=$PREFIX" --project="$PROJECT"
# Granted early, so that it is known when the build needs it.
run gcloud storage buckets add-iam-policy-binding "gs://$BUCKET" --member="serviceAccount:$(account build)" --role=roles/storage.objectViewer --project="$PROJECT"

say 'Secrets'
for name in $SECRETS; do
  exists gcloud secrets describe "$PREFIX-$name" --project="$PROJECT" ||
    run gcloud secrets create "$PREFIX-$name" --replication-policy=automatic --labels="casewatch=$PREFIX" --project="$PROJECT"
done
for name in token-secret api-keys; do
  exists gcloud secrets versions describe latest --secret="$PREFIX-$name" --project="$PROJECT" || {
    note 'openssl rand -hex 32 is its value'
    feed "$(openssl rand -hex 32)" gcloud secrets versions add "$PREFIX-$name" --data-file=- --project="$PROJECT"
  }
done

make_store

say 'Topics'
for name in "$PIPELINE_EVENTS_TOPIC" "$ENDED_TOPIC" "$DEAD_LETTER_TOPIC"; do
  exists gcloud pubsub topics describe "$name" --project="$PROJECT" ||
    run gcloud pubsub topics create "$name" --labels="casewatch=$PREFIX" --project="$PROJECT"
done

say 'Task queues'
queue() { # NAME RATE CONCURRENCY LOG-SHARE
  local verb=create
  ! exists gcloud tasks queues describe "$1" --location="$REGION" --project="$PROJECT" || verb=update
  run gcloud tasks queues "$verb" "$1" --max-dispatches-per-second="$2" --max-concurrent-dispatches="$3" --log-sampling-ratio="$4" \
    --max-attempts=unlimited --max-retry-duration=0s --min-backoff=1s --max-backoff=60s --max-doublings=6 --location="$REGION" --project="$PROJECT"
}
for name in $CHECK_QUEUES; do
  queue "$name" 500 "$CHECK_CONCURRENCY" 0.01
done
queue "$DISPATCH_QUEUE" "$DISPATCH_RATE" "$DISPATCH_CONCURRENCY" 1

say 'Who may do what'
run gcloud beta services identity create --service=pubsub.googleapis.com --project="$PROJECT"
each_project_grant
each_policy

build_image
wait_for_indexes
deploy_services

say 'Who may call'
[ "$CONSOLE_IAP" != true ] || run gcloud beta services identity create --service=iap.googleapis.com --project="$PROJECT"
each_caller

say 'Subscriptions: the events of the pipeline, pushed to complete, and the dead letters'
subscription() { # NAME TOPIC FLAG …
  local name=$1 topic=$2
  shift 2
  if exists gcloud pubsub subscriptions describe "$name" --project="$PROJECT"; then
    run gcloud pubsub subscriptions update "$name" --expiration-period=never "$@" --project="$PROJECT"
  else
    run gcloud pubsub subscriptions create "$name" --topic="$topic" --expiration-period=never "$@" --labels="casewatch=$PREFIX" --project="$PROJECT"
  fi
}
# A topic without a subscription loses what is published to it.
subscription "$PREFIX-dead-letter" "$DEAD_LETTER_TOPIC" --ack-deadline=60 --message-retention-duration=2678400s --min-retry-delay=10s --max-retry-delay=600s
# 100 attempts take about 16 hours: an outage of the store does not turn events into dead letters overnight.
subscription "$PREFIX-complete" "$PIPELINE_EVENTS_TOPIC" --ack-deadline=600 --message-retention-duration=604800s --min-retry-delay=1s --max-retry-delay=600s \
  --push-endpoint="$(url complete)" --push-auth-service-account="$(account push)" --push-auth-token-audience="$(url complete)" \
  --dead-letter-topic="projects/$PROJECT/topics/$DEAD_LETTER_TOPIC" --max-delivery-attempts=100
each_late_policy

say 'The job that calls sweep'
verb=create
! exists gcloud scheduler jobs describe "$PREFIX-sweep" --location="$REGION" --project="$PROJECT" || verb=update
run gcloud scheduler jobs "$verb" http "$PREFIX-sweep" --schedule="$SWEEP_SCHEDULE" --time-zone=Etc/UTC --uri="$(url sweep)" --http-method=POST \
  --oidc-service-account-email="$(account scheduler)" --oidc-token-audience="$(url sweep)" --attempt-deadline="${SWEEP_ATTEMPT}s" \
  --max-retry-attempts=3 --min-backoff=5s --max-backoff=60s --max-doublings=4 --location="$REGION" --project="$PROJECT"

make_monitoring

smoke() {
  if [ -n "$DRY_RUN" ]; then
    show '  ' "$GCP/smoke.sh" "$NAME" "$@"
  else
    "$GCP/smoke.sh" "$ENV_FILE" "$@"
  fi
}
if [ -n "$DRY_RUN" ] || [ -n "${CANDIDATE[start]}" ]; then
  say 'A canary case, started and followed at the candidates'
  smoke --candidate || die 'the canary did not succeed: nothing was promoted, traffic is where it was'
fi
promote
say 'A canary case, through all of the new release'
smoke || die 'the canary did not succeed after the promotion'
PROMOTED=()
say "Done. start is at $START_URL"
case $CONSOLE_MEMBERS/$CONSOLE_IAP in
/*) note 'no console: CONSOLE_USERS is not set' ;;
*/true) note "console: $(url console)" ;;
*) note "console: gcloud run services proxy $PREFIX-console --region=$REGION --project=$PROJECT" ;;
esac
