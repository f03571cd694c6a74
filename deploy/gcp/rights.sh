# shellcheck shell=bash
# shellcheck disable=SC2086,SC2154 # lists of functions are words
# Who may do what. deploy.sh grants the rights that this file lists; verify.sh compares them with
# the live ones.
#
# Each function has its own service account. The account gets a right to a resource only if a
# setting of the function names that resource. A "grant" adds to the policy of the resource that the
# next "policy" line names. The policy then holds these grants and no others. Functions that are not
# deployed get no grants.

PUBLIC='start status cancel'
# WRITERS change records, create tasks and publish ended events.
WRITERS='start cancel callback dispatch check complete sweep console'
ALL="$WRITERS status"

GRANTS=()
# grant ROLE MEMBER …: a member is a function, or is written as in an IAM policy.
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

# policy_json FILE: writes the grants to a file as an IAM policy, and prints them.
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

# agent SERVICE: the service account that Google runs for one of its services in this project.
agent() { printf 'serviceAccount:service-%s@gcp-sa-%s.iam.gserviceaccount.com' "$NUMBER" "$1"; }

# project_grants: the rights that can be granted only for the whole project. It calls on_project
# ROLE MEMBER CONDITION.
project_grants() {
  local f condition=None
  on_project roles/logging.logWriter "serviceAccount:$(account build)" None
  for f in $FUNCTIONS; do
    case $STORE_KIND in
    firestore) # for this database and no other (https://cloud.google.com/firestore/docs/security/iam)
      condition="expression=resource.name==\"projects/$PROJECT/databases/$DATABASE\",title=$PREFIX-database"
      on_project roles/datastore.user "serviceAccount:$(account "$f")" "$condition"
      ;;
    cloudsql) on_project roles/cloudsql.client "serviceAccount:$(account "$f")" None ;;
    esac
  done
}

# resource_policies: the policies that the build and the functions need.
resource_policies() {
  local name
  grant roles/artifactregistry.writer "serviceAccount:$(account build)"
  policy repository "$PREFIX"

  for name in $SECRETS; do
    case $name in
    token-secret) grant roles/secretmanager.secretAccessor $PUBLIC callback dispatch ;;
    api-keys) grant roles/secretmanager.secretAccessor $PUBLIC ;;
    pipeline-secret-*) grant roles/secretmanager.secretAccessor dispatch check callback ;;
    pipeline-api-key) grant roles/secretmanager.secretAccessor dispatch check ;;
    store) grant roles/secretmanager.secretAccessor $ALL ;;
    esac
    policy secret "$PREFIX-$name"
  done

  grant roles/pubsub.publisher $WRITERS
  policy topic "$ENDED_TOPIC"
  # Pub/Sub publishes dead letters itself
  # (https://cloud.google.com/pubsub/docs/handling-failures#grant_forwarding_permissions).
  grant roles/pubsub.publisher complete callback "$(agent pubsub)"
  policy topic "$DEAD_LETTER_TOPIC"
  for name in ${PIPELINE_PUBLISHERS//,/ }; do
    grant roles/pubsub.publisher "serviceAccount:$name"
  done
  policy topic "$PIPELINE_EVENTS_TOPIC"

  # An enqueuer can only create tasks. sweep, console and callback also look up tasks, which needs the
  # viewer role.
  for name in $CHECK_QUEUES; do
    grant roles/cloudtasks.enqueuer $ALL
    grant roles/cloudtasks.taskDeleter $ALL
    grant roles/cloudtasks.viewer sweep console callback
    policy queue "$name"
  done
  for name in $DISPATCH_QUEUES; do
    grant roles/cloudtasks.enqueuer $WRITERS
    grant roles/cloudtasks.taskDeleter $WRITERS
    grant roles/cloudtasks.viewer sweep console
    policy queue "${name%%:*}"
  done

  # A function that creates a task with a token of this account acts as this account.
  grant roles/iam.serviceAccountUser $ALL
  policy account "$(account tasks)"
}

# service_policies: who may call each function. start, status, cancel and callback are open to everybody:
# service.yaml turns off IAM's check, or allUsers may call. Without Identity-Aware Proxy the console
# is open too, for the following reason. It verifies the ID tokens of CONSOLE_USERS itself, and
# IAM's check may remove the signature of a token.
service_policies() {
  local f
  for f in $FUNCTIONS; do
    case $(column CALLER "$f") in
    public) [ "$PUBLIC_ACCESS" != allUsers ] || grant roles/run.invoker allUsers ;;
    users)
      if [ "$CONSOLE_IAP" = true ]; then # the proxy calls the console for its users
        grant roles/iap.httpsResourceAccessor $CONSOLE_MEMBERS
        policy iap "$PREFIX-$f"
        grant roles/run.invoker "$(agent iap)"
      fi
      ;;
    *) grant roles/run.invoker "serviceAccount:$(account "$(column CALLER "$f")")" ;;
    esac
    policy service "$PREFIX-$f"
  done
}

# subscription_policy: the right of Pub/Sub to take messages from the subscription. The subscription
# is created last.
subscription_policy() {
  grant roles/pubsub.subscriber "$(agent pubsub)"
  policy subscription "$PREFIX-complete"
}

# policy_command VERB KIND NAME [FILE]: sets COMMAND to gcloud's get-iam-policy or set-iam-policy
# for a resource.
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
  iap)
    COMMAND=(gcloud beta iap web "$verb" "${file[@]}" --resource-type=cloud-run --service="$name" --region="$REGION")
    ;;
  esac
  COMMAND+=(--project="$PROJECT")
}
