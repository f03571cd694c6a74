# shellcheck shell=bash
# What the functions stand on: APIs, accounts, secrets, the store, topics, queues, rights. Each step creates or updates only what
# differs from the plan. Sourced.

ensure_apis() {
  local name missing=()
  say 'APIs'
  while read -r name; do
    ! needs api "$name" || missing+=("$name")
  done < <(get '.apis[]')
  [ "${#missing[@]}" = 0 ] || run gcloud services enable "${missing[@]}" --project="$PROJECT"
}

# given_secrets: stops before anything is changed if a secret is missing that only the operator knows.
given_secrets() {
  local name missing=()
  if enabled secretmanager; then
    list secrets secretmanager gcloud secrets list
    all_read
    while read -r name; do
      ! exists secrets "$name" || read_versions "$name"
    done < <(get '.secrets[] | select(.source == "given").name')
    all_read
    plan
  fi
  while read -r name; do
    missing+=("$name")
  done < <(get '.secrets[] | select(.source == "given" and (.version | startswith("{"))).name')
  [ "${#missing[@]}" = 0 ] && return
  {
    echo "Nothing was changed: these secrets have no version, and only you know their values. Add them, typing the value and ctrl-D:"
    enabled secretmanager || echo "  gcloud services enable secretmanager.googleapis.com --project=$PROJECT"
    for name in "${missing[@]}"; do
      exists secrets "$name" || echo "  gcloud secrets create $name --replication-policy=automatic --project=$PROJECT"
      echo "  gcloud secrets versions add $name --data-file=- --project=$PROJECT"
    done
    echo "(No line break at the end of the value: end the line with ctrl-D twice, not with return.)"
  } >&2
  exit 1
}

ensure_repository() {
  say 'Images'
  ! needs repository "$PREFIX" || run gcloud artifacts repositories create "$PREFIX" --repository-format=docker --location="$REGION" \
    --description='Images of Casewatch' --project="$PROJECT"
}

ensure_accounts() {
  local id email title
  say 'Service accounts: one for each function, one for each caller, one that builds'
  while IFS=$'\t' read -r id email title; do
    ! needs account "$email" || run gcloud iam service-accounts create "$id" --display-name="$title" --project="$PROJECT"
  done < <(get '.accounts[] | [.id, .email, .title] | @tsv')
}

random_secret() { printf %s "$(openssl rand -hex 32)"; }

ensure_secrets() {
  local name source
  say 'Secrets'
  while read -r name source; do
    ! needs secret "$name" || run gcloud secrets create "$name" --replication-policy=automatic --labels="casewatch=$PREFIX" --project="$PROJECT"
    [ "$source" != cloudsql ] || continue # it gets its version with the user
    if needs version "$name"; then
      if [ "$source" = given ]; then
        note "the operator's: gcloud secrets versions add $name --data-file=- --project=$PROJECT"
      else
        fed random_secret gcloud secrets versions add "$name" --data-file=- --project="$PROJECT"
      fi
    fi
  done < <(get '.secrets[] | "\(.name) \(.source)"')
}

ensure_store() {
  if [ "$(get '.firestore != null')" = true ]; then
    ensure_firestore
  elif [ "$(get '.cloud_sql != null')" = true ]; then
    ensure_sql
  else
    say 'Store: a PostgreSQL that is not ours to make'
  fi
}

ensure_firestore() {
  local database key group scope args path
  database=$(get .firestore.database)
  say "Firestore database $database"
  if needs database "$database"; then
    if [ "$HOW" = create ]; then
      run gcloud firestore databases create --database="$database" --location="$REGION" --type=firestore-native --delete-protection --enable-pitr --project="$PROJECT"
    else
      run gcloud firestore databases update --database="$database" --delete-protection --enable-pitr --project="$PROJECT"
    fi
  fi
  while IFS=$'\t' read -r key group scope args; do
    # shellcheck disable=SC2086 # several flags; none holds a space
    ! needs index "$key" || run gcloud firestore indexes composite create --database="$database" --collection-group="$group" --query-scope="$scope" $args \
      --async --project="$PROJECT"
  done < <(get '.firestore.indexes[] | [.key, .group, (.scope | ascii_downcase | gsub("_"; "-")), (.args | join(" "))] | @tsv')
  while IFS=$'\t' read -r key group path args; do
    # shellcheck disable=SC2086
    ! needs exemption "$key" || run gcloud firestore indexes fields update "$path" --database="$database" --collection-group="$group" $args --async --project="$PROJECT"
  done < <(get '.firestore.exemptions[] | [.key, .group, .path, (.args | join(" "))] | @tsv')
  while IFS=$'\t' read -r key group path; do
    ! needs ttl "$key" || run gcloud firestore fields ttls update "$path" --database="$database" --collection-group="$group" --enable-ttl --async --project="$PROJECT"
  done < <(get '.firestore.ttls[] | [.key, .group, .path] | @tsv')
}

# wait_for_indexes: a query whose index is still being made fails. On an empty database that takes minutes.
wait_for_indexes() {
  local building
  [ -z "$DRY_RUN" ] && [ "$(get '.firestore.indexes | length')" != 0 ] || return 0
  SECONDS=0
  while :; do
    list indexes firestore gcloud firestore indexes composite list --database="$(get .firestore.database)"
    all_read
    settings diff >"$WORK/indexes.tsv"
    building=$(awk -F '\t' '$2 == "index"' "$WORK/indexes.tsv" | wc -l)
    [ "$building" != 0 ] || break
    [ "$SECONDS" -lt 1200 ] || die "$building indexes are not ready after 20 minutes: gcloud firestore operations list --project=$PROJECT"
    note "$building indexes are being made"
    sleep 10
  done
}

# A password goes to gcloud in a file of flags, and to Secret Manager as a part of the store's URL.
PASSWORD=
store_url() {
  printf 'postgres://%s:%s@/%s?host=/cloudsql/%s' "$(get .cloud_sql.user)" "$PASSWORD" "$(get .cloud_sql.database)" "$(get .cloud_sql.connection)"
}

ensure_sql() {
  local instance user secret flags
  instance=$(get .cloud_sql.instance) user=$(get .cloud_sql.user)
  secret=$(get '.secrets[] | select(.source == "cloudsql").name')
  flags=("--tier=$(get .cloud_sql.tier)" "--availability-type=$(get .cloud_sql.availability)")
  say "Cloud SQL instance $instance"
  if needs sql-instance "$instance"; then
    if [ "$HOW" = create ]; then
      # Reached through the connector only: it has an address, and no network may use it.
      run gcloud sql instances create "$instance" --database-version="$(get .cloud_sql.version)" --region="$REGION" --edition=enterprise "${flags[@]}" \
        --storage-auto-increase --backup --enable-point-in-time-recovery --deletion-protection --connector-enforcement=REQUIRED --timeout=unlimited --project="$PROJECT"
    else
      run gcloud sql instances patch "$instance" "${flags[@]}" --project="$PROJECT"
    fi
  fi
  ! needs sql-database casewatch || run gcloud sql databases create casewatch --instance="$instance" --project="$PROJECT"
  # A user whose password did not get into the secret gets another one.
  if needs version "$secret"; then
    if [ -z "$DRY_RUN" ]; then
      PASSWORD=$(openssl rand -hex 24)
      (umask 077 && printf -- '--password: "%s"\n' "$PASSWORD" >"$WORK/password.yaml")
    fi
    if needs sql-user "$user"; then
      run gcloud sql users create "$user" --instance="$instance" --flags-file="$WORK/password.yaml" --project="$PROJECT"
    else
      run gcloud sql users set-password "$user" --instance="$instance" --flags-file="$WORK/password.yaml" --project="$PROJECT"
    fi
    fed store_url gcloud secrets versions add "$secret" --data-file=- --project="$PROJECT"
    rm -f "$WORK/password.yaml"
  fi
}

ensure_topics() {
  local name
  say 'Topics'
  while read -r name; do
    ! needs topic "$name" || run gcloud pubsub topics create "$name" --labels="casewatch=$PREFIX" --project="$PROJECT"
  done < <(get '.topics[]')
}

ensure_queues() {
  local name rate wide least most doublings sampling
  say 'Task queues, every limit said'
  while IFS=$'\t' read -r name rate wide least most doublings sampling; do
    ! needs queue "$name" || run gcloud tasks queues "$HOW" "$name" --location="$REGION" --max-dispatches-per-second="$rate" --max-concurrent-dispatches="$wide" \
      --max-attempts=unlimited --max-retry-duration=0s --min-backoff="$least" --max-backoff="$most" --max-doublings="$doublings" \
      --log-sampling-ratio="$sampling" --project="$PROJECT"
  done < <(get '.queues[] | [.name, .rate, .concurrency, .min_backoff, .max_backoff, .max_doublings, .log_sampling] | @tsv')
}

# ensure_policies KIND...: who may do what to resources of these kinds. A policy is written as it was read, with what is missing and without
# what may not be; its etag makes that fail if somebody else wrote it meanwhile. The project's is too much to write whole: there, each
# grant is added for itself.
ensure_policies() {
  local kind name role member condition kinds=" $* "
  while read -r kind name; do
    [[ $kinds = *" $kind "* ]] || continue
    needs policy "$kind/$name" || continue
    if [ "$kind" = project ]; then
      while IFS=$'\t' read -r role member condition; do
        run gcloud projects add-iam-policy-binding "$name" --member="$member" --role="$role" --condition="$condition"
      done < <(missing_grants)
      continue
    fi
    case "$kind/$name" in
    "topic/$(get '.subscriptions[] | select(.dead_letter_topic != "").dead_letter_topic')") ensure_agent pubsub "$kind/$name" ;;
    esac
    settings policy "$kind" "$name" >"$WORK/policy-$kind-$name.json" || exit 1
    case $kind in
    secret) run gcloud secrets set-iam-policy "$name" "$WORK/policy-$kind-$name.json" --project="$PROJECT" ;;
    topic) run gcloud pubsub topics set-iam-policy "$name" "$WORK/policy-$kind-$name.json" --project="$PROJECT" ;;
    subscription) run gcloud pubsub subscriptions set-iam-policy "$name" "$WORK/policy-$kind-$name.json" --project="$PROJECT" ;;
    queue) run gcloud tasks queues set-iam-policy "$name" "$WORK/policy-$kind-$name.json" --location="$REGION" --project="$PROJECT" ;;
    service) run gcloud run services set-iam-policy "$name" "$WORK/policy-$kind-$name.json" --region="$REGION" --project="$PROJECT" ;;
    iap) run gcloud beta iap web set-iam-policy "$WORK/policy-$kind-$name.json" --resource-type=cloud-run --service="$name" --region="$REGION" --project="$PROJECT" ;;
    account) run gcloud iam service-accounts set-iam-policy "$name" "$WORK/policy-$kind-$name.json" --project="$PROJECT" ;;
    esac
    jq -r '.bindings[] | "     \(.role): \(.members | join(", "))"' "$WORK/policy-$kind-$name.json"
  done < <(get '.policies[] | "\(.kind) \(.name)"')
}

# ensure_agent SERVICE POLICY: makes the account that a Google service itself works as, if the policy does not have it yet. It is made when it is first asked for.
ensure_agent() {
  ! awk -F '\t' -v name="$2" -v is="^not granted to serviceAccount:service-.*@gcp-sa-$1[.]" '$2 == "policy" && $3 == name && $5 ~ is { found = 1 } END { exit !found }' "$WORK/diff.tsv" ||
    run gcloud beta services identity create --service="$1.googleapis.com" --project="$PROJECT"
}

# missing_grants: of the project: role, member and condition as gcloud takes it.
missing_grants() {
  local grants
  # shellcheck disable=SC2016 # jq's variables
  grants=$(get '.policies[] | select(.kind == "project").bindings[] | . as $b | .members[] |
    [$b.role, ., (if $b.condition then "expression=\($b.condition.expression),title=\($b.condition.title)" else "None" end)] | join("\t")')
  while IFS=$'\t' read -r role member condition; do
    ! awk -F '\t' -v role="$role" -v is="not granted to $member" '$3 ~ /^project\// && $4 == role && $5 == is { found = 1 } END { exit !found }' "$WORK/diff.tsv" ||
      printf '%s\t%s\t%s\n' "$role" "$member" "$condition"
  done <<<"$grants"
}
