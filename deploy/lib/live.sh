# shellcheck shell=bash
# Reads what is live: one list of each kind, as JSON files in $STATE, which the settings command compares with the plan. Sourced.

declare -A DIFFERS=()

# list FILE API COMMAND ...: reads one list in the background. A list of an API that is not enabled is empty: there can be nothing. "-" is an API that
# need not be enabled in the project, since gcloud brings it along.
list() {
  local file=$1 api=$2
  shift 2
  rm -f "$STATE/$file.json"
  [ "$api" = - ] || enabled "$api" || return 0
  throttle
  (
    trap - EXIT
    quietly "$WORK/list-$file" "$@" --project="$PROJECT" --format=json
    mv "$WORK/list-$file.out" "$STATE/$file.json"
  ) </dev/null &
  READING+=("$file")
}

enabled() { jq -e --arg api "$1.googleapis.com" 'any(.[]; .config.name == $api or (.name | endswith("/" + $api)))' "$STATE/apis.json" >/dev/null; }

READING=()
all_read() {
  local file missing=()
  wait
  for file in "${READING[@]}"; do
    [ -f "$STATE/$file.json" ] || missing+=("$file")
  done
  READING=()
  [ "${#missing[@]}" = 0 ] || die "what is live could not be read: ${missing[*]}"
}

# read_project: the project's number and which APIs are enabled: what everything else depends on.
read_project() {
  list project - gcloud projects describe "$PROJECT"
  list apis - gcloud services list --enabled
  all_read
}

# read_live: every list, then the policies and versions of what there is.
read_live() {
  list repositories artifactregistry gcloud artifacts repositories list --location="$REGION"
  list accounts-raw iam gcloud iam service-accounts list
  list secrets secretmanager gcloud secrets list
  list topics pubsub gcloud pubsub topics list
  list subscriptions pubsub gcloud pubsub subscriptions list
  list queues cloudtasks gcloud tasks queues list --location="$REGION"
  list services run gcloud run services list --region="$REGION"
  list jobs cloudscheduler gcloud scheduler jobs list --location="$REGION"
  list metrics logging gcloud logging metrics list
  list channels monitoring gcloud beta monitoring channels list
  list alerts monitoring gcloud alpha monitoring policies list
  list dashboards monitoring gcloud monitoring dashboards list
  list policy-project-"$PROJECT" - gcloud projects get-iam-policy "$PROJECT"
  if [ "$(get '.firestore != null')" = true ]; then
    list databases firestore gcloud firestore databases list
  elif [ "$(get '.cloud_sql != null')" = true ]; then
    list sql-instances sqladmin gcloud sql instances list
  fi
  all_read
  # Accounts are known by their e-mails.
  [ ! -f "$STATE/accounts-raw.json" ] || jq 'map({name: .email})' "$STATE/accounts-raw.json" >"$STATE/accounts.json"
  read_store
  read_policies
  all_read
}

read_store() {
  local database instance
  database=$(get '.firestore.database // empty')
  if [ -n "$database" ] && exists databases "$database"; then
    list indexes firestore gcloud firestore indexes composite list --database="$database"
    list ttls firestore gcloud firestore fields ttls list --database="$database"
    list fields firestore gcloud firestore indexes fields list --database="$database"
  fi
  instance=$(get '.cloud_sql.instance // empty')
  if [ -n "$instance" ] && exists sql-instances "$instance"; then
    list sql-databases sqladmin gcloud sql databases list --instance="$instance"
    list sql-users sqladmin gcloud sql users list --instance="$instance"
  fi
}

# read_policies: of what is there. What is not has none.
read_policies() {
  local kind name
  while read -r kind name; do
    case $kind in
    secret)
      exists secrets "$name" || continue
      list policy-secret-"$name" secretmanager gcloud secrets get-iam-policy "$name"
      ;;
    topic) exists topics "$name" && list policy-topic-"$name" pubsub gcloud pubsub topics get-iam-policy "$name" ;;
    subscription) exists subscriptions "$name" && list policy-subscription-"$name" pubsub gcloud pubsub subscriptions get-iam-policy "$name" ;;
    queue) exists queues "$name" && list policy-queue-"$name" cloudtasks gcloud tasks queues get-iam-policy "$name" --location="$REGION" ;;
    service) exists services "$name" && list policy-service-"$name" run gcloud run services get-iam-policy "$name" --region="$REGION" ;;
    iap) exists services "$name" && list policy-iap-"$name" iap gcloud beta iap web get-iam-policy --resource-type=cloud-run --service="$name" --region="$REGION" ;;
    account) exists accounts "$name" && list policy-account-"$name" iam gcloud iam service-accounts get-iam-policy "$name" ;;
    esac
  done < <(get '.policies[] | "\(.kind) \(.name)"')
  while read -r name; do
    ! exists secrets "$name" || read_versions "$name"
  done < <(get '.secrets[].name')
}

read_versions() { list versions-"$1" secretmanager gcloud secrets versions list "$1" --filter=state=ENABLED; }

# exists LIST NAME: whether a resource whose name ends so is in a list. Services have their names elsewhere.
exists() {
  [ -f "$STATE/$1.json" ] &&
    jq -e --arg name "$2" 'any(.[]; (.name // .metadata.name) | split("/") | last == $name)' "$STATE/$1.json" >/dev/null
}

# compare: reads the plan again, and how what is live differs from it.
compare() {
  local how kind name _
  plan
  settings diff >"$WORK/diff.tsv" || exit 1
  DIFFERS=()
  while IFS=$'\t' read -r how kind name _; do
    [ "$how" = look ] || DIFFERS["$kind $name"]=${DIFFERS["$kind $name"]:-$how}
  done <"$WORK/diff.tsv"
}

# needs KIND NAME: whether something is to be done about a resource. HOW is then create or update, and what differs is said.
needs() {
  HOW=${DIFFERS["$1 $2"]:-}
  if [ -z "$HOW" ]; then
    note "ok: $1 $2"
    return 1
  fi
  [ "$HOW" = create ] || awk -F '\t' -v kind="$1" -v name="$2" \
    '$1 == "update" && $2 == kind && $3 == name && $5 !~ /^not granted/ { printf "   %s %s: %s is %s, should be %s\n", $2, $3, $4, $5, $6 }' "$WORK/diff.tsv"
}
