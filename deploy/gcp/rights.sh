# shellcheck shell=bash
# shellcheck disable=SC2086,SC2154 # lists of functions are words
# Who may do what. deploy.sh makes it so, verify.sh compares, and both read it here.
#
# Each function has a service account of its own. It gets a right only where its settings name the resource, at the
# resource itself. A "grant" adds to the policy that the next "policy" line is about; that policy is the whole of it:
# nobody else has a role there. Functions that are not deployed are passed over.

PUBLIC='start status cancel'
SAVING='start cancel dispatch check complete sweep console' # they change records, create tasks and publish ends
ALL="$SAVING status"

GRANTS=()
# grant ROLE MEMBER …: a member is a function, or is written as IAM writes it.
grant() {
  local role=$1 member
  shift
  for member in "$@"; do
    case $member in
    *:* | allUsers) GRANTS+=("$role $member") ;;
    *) [[ " $FUNCTIONS " != *" $member "* ]] || GRANTS+=("$role serviceAccount:$(account "$member")") ;;
    esac
  done
}

# policy_json FILE: writes the grants as IAM takes a policy, and prints them.
policy_json() {
  local role member last='' text=''
  while read -r role member; do
    [ -n "$role" ] || continue
    if [ "$role" = "$last" ]; then text+=', '; else
      [ -z "$last" ] || text+=']}, '
      text+="{\"role\": \"$role\", \"members\": ["
    fi
    text+="\"$member\"" last=$role
  done < <(printf '%s\n' "${GRANTS[@]}" | LC_ALL=C sort -u)
  [ -z "$last" ] || text+=']}'
  printf '{"bindings": [%s]}\n' "$text" | tee "$1"
}

agent() { printf 'serviceAccount:service-%s@gcp-sa-%s.iam.gserviceaccount.com' "$NUMBER" "$1"; } # of a Google service

# The project itself: what can only be granted there. on_project ROLE MEMBER CONDITION.
each_project_grant() {
  local f condition=None
  on_project roles/logging.logWriter "serviceAccount:$(account build)" None
  for f in $FUNCTIONS; do
    case $STORE_KIND in
    firestore) # one database, and no other (https://cloud.google.com/firestore/docs/security/iam)
      condition="expression=resource.name==\"projects/$PROJECT/databases/$DATABASE\",title=$PREFIX-database"
      on_project roles/datastore.user "serviceAccount:$(account "$f")" "$condition"
      ;;
    cloudsql) on_project roles/cloudsql.client "serviceAccount:$(account "$f")" None ;;
    esac
  done
}

# What has to be there before anything is built or deployed.
each_policy() {
  local name
  grant roles/artifactregistry.writer "serviceAccount:$(account build)"
  policy repository "$PREFIX"

  for name in $SECRETS; do
    case $name in
    token-secret | api-keys) grant roles/secretmanager.secretAccessor $PUBLIC ;;
    pipeline-api-key) grant roles/secretmanager.secretAccessor dispatch check ;;
    store) grant roles/secretmanager.secretAccessor $ALL ;;
    esac
    policy secret "$PREFIX-$name"
  done

  grant roles/pubsub.publisher $SAVING
  policy topic "$ENDED_TOPIC"
  # Pub/Sub itself moves dead letters (https://cloud.google.com/pubsub/docs/handling-failures#grant_forwarding_permissions).
  grant roles/pubsub.publisher complete "$(agent pubsub)"
  policy topic "$DEAD_LETTER_TOPIC"
  for name in ${PIPELINE_PUBLISHERS//,/ }; do
    grant roles/pubsub.publisher "serviceAccount:$name"
  done
  policy topic "$PIPELINE_EVENTS_TOPIC"

  # The enqueuer may only create; only the viewer may look for a task, which sweep and console do.
  for name in $CHECK_QUEUES; do
    grant roles/cloudtasks.enqueuer $ALL
    grant roles/cloudtasks.taskDeleter $ALL
    grant roles/cloudtasks.viewer sweep console
    policy queue "$name"
  done
  grant roles/cloudtasks.enqueuer $SAVING
  grant roles/cloudtasks.taskDeleter $SAVING
  grant roles/cloudtasks.viewer sweep console
  policy queue "$DISPATCH_QUEUE"

  # A function that creates a task with the token of this account acts as this account.
  grant roles/iam.serviceAccountUser $ALL
  policy account "$(account tasks)"
}

# Who may call. start, status and cancel are open: service.yaml turns IAM's check off, or allUsers may call. So is the console
# without Identity-Aware Proxy: it verifies the ID tokens of CONSOLE_USERS itself, and IAM's check may remove their signatures.
each_caller() {
  local f
  for f in $FUNCTIONS; do
    case $(of CALLER "$f") in
    public) [ "$PUBLIC_ACCESS" != allUsers ] || grant roles/run.invoker allUsers ;;
    users)
      if [ "$CONSOLE_IAP" = true ]; then # people come as the proxy
        grant roles/iap.httpsResourceAccessor $CONSOLE_MEMBERS
        policy iap "$PREFIX-$f"
        grant roles/run.invoker "$(agent iap)"
      fi
      ;;
    *) grant roles/run.invoker "serviceAccount:$(account "$(of CALLER "$f")")" ;;
    esac
    policy service "$PREFIX-$f"
  done
}

# Of the subscription that exists last.
each_late_policy() {
  grant roles/pubsub.subscriber "$(agent pubsub)"
  policy subscription "$PREFIX-complete"
}

# policy_command VERB KIND NAME [FILE]: sets COMMAND to gcloud's get-iam-policy or set-iam-policy for a resource.
policy_command() {
  local verb=$1-iam-policy kind=$2 name=$3 file=("${@:4}")
  case $kind in
  repository) COMMAND=(gcloud artifacts repositories "$verb" "$name" "${file[@]}" --location="$REGION") ;;
  secret) COMMAND=(gcloud secrets "$verb" "$name" "${file[@]}") ;;
  topic) COMMAND=(gcloud pubsub topics "$verb" "$name" "${file[@]}") ;;
  subscription) COMMAND=(gcloud pubsub subscriptions "$verb" "$name" "${file[@]}") ;;
  queue) COMMAND=(gcloud tasks queues "$verb" "$name" "${file[@]}" --location="$REGION") ;;
  account) COMMAND=(gcloud iam service-accounts "$verb" "$name" "${file[@]}") ;;
  service) COMMAND=(gcloud run services "$verb" "$name" "${file[@]}" --region="$REGION") ;;
  iap) COMMAND=(gcloud beta iap web "$verb" "${file[@]}" --resource-type=cloud-run --service="$name" --region="$REGION") ;;
  esac
  COMMAND+=(--project="$PROJECT")
}
