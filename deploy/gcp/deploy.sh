#!/usr/bin/env bash
# Deploys Casewatch to the project that an env file names. Each step creates what is missing and
# updates what exists. If the script breaks off, run it again: it continues. It touches nothing else
# in the project.
#
# A new revision of a function that serves already gets no traffic at first. A canary case starts at
# the new revisions. If it succeeds, traffic goes to them, and a second canary case runs. Otherwise:
#
#   the first canary fails              no traffic moves; the new revisions stay, with the tag "candidate"
#   the second one fails, a command     traffic goes back to the revisions that served before
#   fails, or a signal ends the script
#   the script is killed                traffic stays as it is: run it again, or rollback.sh
#
# Only traffic goes back. Rights, queues, subscriptions, the job, monitoring, and a service's
# ingress, open access and minimum of instances are as the new files say. The first deployment of a
# function has all traffic at once, and nothing to go back to.
#
#   deploy/gcp/deploy.sh ENV             ENV names deploy/gcp/env/ENV.env, or is the path of such a file
#   deploy/gcp/deploy.sh ENV --dry-run   prints every command and calls nothing
#   deploy/gcp/deploy.sh ENV --rebuild   builds the image even if this source was built before
#
# store.sh, release.sh and monitoring.sh hold the steps of the store, of a release and of
# monitoring. rights.sh says who may do what. service.yaml and functions.txt describe the functions.
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

# policy KIND NAME: replaces the whole policy of a resource by the grants. rights.sh calls it.
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

# If the script ends between the promotion and the success of the second canary, traffic goes back.
on_exit() {
  if [ "$1" != 0 ] && [ "${#PROMOTED[@]}" != 0 ]; then
    say 'Traffic goes back to the revisions that served before'
    restore_traffic "${PROMOTED[@]}"
  fi
}

say "Casewatch as $PREFIX in $PROJECT, $REGION"
if [ "$CONSOLE_IAP/$ORGANIZATION" = true/ ] && [ -z "$DRY_RUN" ]; then
  note 'CONSOLE_IAP is true, and the project has no organization: Identity-Aware Proxy needs an OAuth client of yours'
fi

say 'APIs'
apis=(artifactregistry cloudbuild cloudscheduler cloudtasks iam logging monitoring pubsub run secretmanager storage)
[ "$STORE_KIND" != firestore ] || apis+=(firestore)
[ "$STORE_KIND" != cloudsql ] || apis+=(sqladmin)
[ "$CONSOLE_IAP" != true ] || apis+=(iap)
run gcloud services enable "${apis[@]/%/.googleapis.com}" --project="$PROJECT"

say 'Checks before any other change: the secrets that only you know, and the owner of the store'
missing=()
for name in $SECRETS; do
  case $name/$STORE_KIND in
  pipeline-api-key/* | pipeline-secret-*/* | store/secret)
    exists gcloud secrets versions describe latest --secret="$PREFIX-$name" --project="$PROJECT" ||
      missing+=("$PREFIX-$name")
    ;;
  esac
done
if [ -z "$DRY_RUN" ] && [ "${#missing[@]}" != 0 ]; then
  {
    echo 'Nothing but the APIs was changed. These secrets have no version. Run the commands. Then type the value,'
    echo 'without a return at its end, and ctrl-D twice:'
    for name in "${missing[@]}"; do
      echo "  gcloud secrets create $name --replication-policy=automatic --project=$PROJECT"
      echo "  gcloud secrets versions add $name --data-file=- --project=$PROJECT"
    done
  } >&2
  exit 1
fi
check_store

say 'Service accounts: one for each function, one for each caller, one for the build'
for name in $FUNCTIONS tasks push scheduler build; do
  exists gcloud iam service-accounts describe "$(account "$name")" --project="$PROJECT" ||
    run gcloud iam service-accounts create "$PREFIX-$name" --display-name="Casewatch $name" --project="$PROJECT"
done

say 'The repository of images and the bucket of their source'
exists gcloud artifacts repositories describe "$PREFIX" --location="$REGION" --project="$PROJECT" ||
  run gcloud artifacts repositories create "$PREFIX" --repository-format=docker --location="$REGION" \
    --description='Images of Casewatch' --labels="casewatch=$PREFIX" --project="$PROJECT"
run gcloud artifacts repositories set-cleanup-policies "$PREFIX" --policy="$GCP/cleanup.json" --no-dry-run \
  --location="$REGION" --project="$PROJECT"
exists gcloud storage buckets describe "gs://$BUCKET" --project="$PROJECT" ||
  run gcloud storage buckets create "gs://$BUCKET" --location="$REGION" --uniform-bucket-level-access \
    --public-access-prevention --project="$PROJECT"
run gcloud storage buckets update "gs://$BUCKET" --lifecycle-file="$GCP/source-lifecycle.json" \
  --update-labels="casewatch=$PREFIX" --project="$PROJECT"
# This grant comes early, so that Google Cloud knows it by the time of the build.
run gcloud storage buckets add-iam-policy-binding "gs://$BUCKET" --member="serviceAccount:$(account build)" \
  --role=roles/storage.objectViewer --project="$PROJECT"

say 'Secrets'
for name in $SECRETS; do
  exists gcloud secrets describe "$PREFIX-$name" --project="$PROJECT" ||
    run gcloud secrets create "$PREFIX-$name" --replication-policy=automatic --labels="casewatch=$PREFIX" \
      --project="$PROJECT"
done
for name in token-secret api-keys; do
  exists gcloud secrets versions describe latest --secret="$PREFIX-$name" --project="$PROJECT" || {
    note 'openssl rand -hex 32 makes its value'
    run_with_input "$(openssl rand -hex 32)" \
      gcloud secrets versions add "$PREFIX-$name" --data-file=- --project="$PROJECT"
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
  run gcloud tasks queues "$verb" "$1" --max-dispatches-per-second="$2" --max-concurrent-dispatches="$3" \
    --log-sampling-ratio="$4" --max-attempts=unlimited --max-retry-duration=0s \
    --min-backoff=1s --max-backoff=60s --max-doublings=6 --location="$REGION" --project="$PROJECT"
}
for name in $CHECK_QUEUES; do
  queue "$name" 500 "$CHECK_CONCURRENCY" 0.01
done
for name in $DISPATCH_QUEUES; do # NAME:RATE:CONCURRENCY, one for each pipeline
  IFS=: read -r name rate concurrency <<<"$name"
  queue "$name" "$rate" "$concurrency" 1
done

say 'Rights'
run gcloud beta services identity create --service=pubsub.googleapis.com --project="$PROJECT"
project_grants
resource_policies

build_image
wait_for_indexes
deploy_services

say 'Callers of the functions'
[ "$CONSOLE_IAP" != true ] || run gcloud beta services identity create --service=iap.googleapis.com --project="$PROJECT"
service_policies

say 'Subscriptions: the events of the pipeline, pushed to complete, and the dead letters'
subscription() { # NAME TOPIC FLAG …
  local name=$1 topic=$2
  shift 2
  if exists gcloud pubsub subscriptions describe "$name" --project="$PROJECT"; then
    run gcloud pubsub subscriptions update "$name" --expiration-period=never "$@" --project="$PROJECT"
  else
    run gcloud pubsub subscriptions create "$name" --topic="$topic" --expiration-period=never "$@" \
      --labels="casewatch=$PREFIX" --project="$PROJECT"
  fi
}
# A topic without a subscription loses what is published to it.
subscription "$PREFIX-dead-letter" "$DEAD_LETTER_TOPIC" --ack-deadline=60 --message-retention-duration=2678400s \
  --min-retry-delay=10s --max-retry-delay=600s
# 100 attempts take about 16 hours, so an outage of the store during a night makes no dead letters.
subscription "$PREFIX-complete" "$PIPELINE_EVENTS_TOPIC" --ack-deadline=600 --message-retention-duration=604800s \
  --min-retry-delay=1s --max-retry-delay=600s --push-endpoint="$(url complete)" \
  --push-auth-service-account="$(account push)" --push-auth-token-audience="$(url complete)" \
  --dead-letter-topic="projects/$PROJECT/topics/$DEAD_LETTER_TOPIC" --max-delivery-attempts=100
subscription_policy

say 'The job that calls sweep'
verb=create
! exists gcloud scheduler jobs describe "$PREFIX-sweep" --location="$REGION" --project="$PROJECT" || verb=update
run gcloud scheduler jobs "$verb" http "$PREFIX-sweep" --schedule="$SWEEP_SCHEDULE" --time-zone=Etc/UTC \
  --uri="$(url sweep)" --http-method=POST --oidc-service-account-email="$(account scheduler)" \
  --oidc-token-audience="$(url sweep)" --attempt-deadline="${SWEEP_ATTEMPT}s" --max-retry-attempts=3 \
  --min-backoff=5s --max-backoff=60s --max-doublings=4 --location="$REGION" --project="$PROJECT"

make_monitoring

smoke() {
  if [ -n "$DRY_RUN" ]; then
    show '  ' "$GCP/smoke.sh" "$NAME" "$@"
  else
    "$GCP/smoke.sh" "$ENV_FILE" "$@"
  fi
}
if [ -n "$DRY_RUN" ] || [ -n "${CANDIDATE[start]}" ]; then
  say 'A canary case that starts at the candidates'
  smoke --candidate || die 'the canary did not succeed: nothing was promoted, and traffic is where it was'
fi
promote
say 'A canary case through the new release'
smoke || die 'the canary did not succeed after the promotion'
PROMOTED=()
say "Done. start is at $START_URL"
case $CONSOLE_MEMBERS/$CONSOLE_IAP in
/*) note 'no console: CONSOLE_USERS is not set' ;;
*/true) note "console: $(url console)" ;;
*) note "console: gcloud run services proxy $PREFIX-console --region=$REGION --project=$PROJECT" ;;
esac
