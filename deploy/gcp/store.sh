# shellcheck shell=bash
# shellcheck disable=SC2154 # set by read_env
# Where cases are kept: a Firestore database, or a database and a user in a Cloud SQL instance. All are named by PREFIX, and
# each has a mark of its owner, so that two environments in one project cannot use or delete each other's cases.
#
# The mark of a Firestore database is the document casewatch/owner in it. That of a Cloud SQL database is the secret
# PREFIX-store, which is made before the database and holds its URL; that of an instance is its label.

# check_store stops before anything is changed if the store is of another kind or place, or somebody else's.
check_store() {
  local is
  case $STORE_KIND in
  firestore)
    exists gcloud firestore databases describe --database="$DATABASE" --project="$PROJECT" --format=json || return 0
    is=$(jq -r '"\(.type) in \(.locationId)"' "$WORK/out")
    [ "$is" = "FIRESTORE_NATIVE in $FIRESTORE_LOCATION" ] ||
      die "the database $DATABASE is $is, not FIRESTORE_NATIVE in $FIRESTORE_LOCATION; neither can be changed: name another one, STORE=firestore:NAME"
    check_owner
    ;;
  cloudsql)
    exists gcloud sql instances describe "$CLOUD_SQL_INSTANCE" --project="$PROJECT" --format=json || return 0
    is=$(jq -r '"\(.databaseVersion) in \(.region)"' "$WORK/out")
    [ "$is" = "$CLOUD_SQL_VERSION in $REGION" ] || die "the instance $CLOUD_SQL_INSTANCE is $is, not $CLOUD_SQL_VERSION in $REGION"
    exists gcloud sql databases describe "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT" || return 0
    exists gcloud secrets describe "$PREFIX-store" --project="$PROJECT" ||
      die "the instance $CLOUD_SQL_INSTANCE has a database $PREFIX, which this environment did not make: there is no secret $PREFIX-store"
    ;;
  esac
}

# documents METHOD PATH [ARGUMENT …]: a request to the database's documents; prints the status, the answer is in $WORK/answer.
documents() {
  local method=$1 path=$2
  shift 2
  curl -sS --max-time 60 -X "$method" -o "$WORK/answer" -w '%{http_code}' -H 'Content-Type: application/json' \
    --config <(printf 'header = "Authorization: Bearer %s"\n' "$(gcloud auth print-access-token)") \
    "$@" "https://firestore.googleapis.com/v1/projects/$PROJECT/databases/$DATABASE/documents$path"
}

# store_owner: the PREFIX that owns the Firestore database; nothing if it has no mark.
store_owner() {
  local status
  status=$(documents GET /casewatch/owner) || die 'Firestore cannot be reached'
  case $status in
  200) jq -r '.fields.prefix.stringValue' "$WORK/answer" ;;
  404) ;;
  *) die "who owns the database $DATABASE cannot be read: $status $(head -c 300 "$WORK/answer")" ;;
  esac
}

# check_owner stops if the database is another environment's, or has no mark and is not empty.
check_owner() {
  local owner status
  owner=$(store_owner) || exit 1
  [ "$owner" != "$PREFIX" ] || return 0
  [ -z "$owner" ] || die "the database $DATABASE belongs to the environment $owner, not to $PREFIX"
  status=$(documents POST :listCollectionIds -d '{"pageSize": 1}') || die 'Firestore cannot be reached'
  [ "$status $(jq -r '.collectionIds | length' "$WORK/answer")" = '200 0' ] ||
    die "the database $DATABASE is not empty and has no owner: name another one, STORE=firestore:NAME"
}

make_store() {
  case $STORE_KIND in
  firestore) make_firestore ;;
  cloudsql) make_sql ;;
  secret) say 'Store: a PostgreSQL that is not made here; its URL is in the secret' ;;
  esac
}

make_firestore() {
  local flags index group field indexes id
  say "Firestore database $DATABASE, with point-in-time recovery, daily backups, indexes and expiry"
  if exists gcloud firestore databases describe --database="$DATABASE" --project="$PROJECT"; then
    run gcloud firestore databases update --database="$DATABASE" --delete-protection --enable-pitr --project="$PROJECT"
  else
    run gcloud firestore databases create --database="$DATABASE" --location="$FIRESTORE_LOCATION" --type=firestore-native \
      --delete-protection --enable-pitr --project="$PROJECT"
  fi
  note "the document casewatch/owner in it says $PREFIX"
  if [ -z "$DRY_RUN" ] && [ "$(store_owner)" != "$PREFIX" ]; then
    [ "$(documents PATCH /casewatch/owner -d "{\"fields\": {\"prefix\": {\"stringValue\": \"$PREFIX\"}}}")" = 200 ] ||
      die "the database $DATABASE could not be marked: $(head -c 300 "$WORK/answer")"
  fi

  # Point-in-time recovery is lost with the database; a backup is not.
  ask id gcloud firestore backups schedules list --database="$DATABASE" --project="$PROJECT" --format='value(name.basename())'
  if [ -z "$id" ] || [ -n "$DRY_RUN" ]; then
    run gcloud firestore backups schedules create --database="$DATABASE" --recurrence=daily --retention="${BACKUP_DAYS}d" --project="$PROJECT"
  else
    run gcloud firestore backups schedules update --database="$DATABASE" --backup-schedule="${id%%$'\n'*}" --retention="${BACKUP_DAYS}d" --project="$PROJECT"
  fi

  # Queries need these (shared/store/firestore tests that they are all). An index takes minutes; the last step waits for it.
  ask indexes gcloud firestore indexes composite list --database="$DATABASE" --project="$PROJECT" --format=json
  [ -n "$DRY_RUN" ] || indexes=$(live_indexes <<<"$indexes")
  while IFS=$'\t' read -r index group flags; do
    if grep -qxF "$index" <<<"$indexes"; then
      note "ok: index $index"
      continue
    fi
    # shellcheck disable=SC2086 # several flags; none holds a space
    run gcloud firestore indexes composite create --database="$DATABASE" --collection-group="$group" --query-scope=collection $flags --async --project="$PROJECT"
  done < <(wanted_indexes)

  # No field has an index of its own, but for the two that counts need. One change of a collection at a time: each waits.
  ask indexes gcloud firestore indexes fields list --database="$DATABASE" --project="$PROJECT" --format=json
  [ -n "$DRY_RUN" ] || indexes=$(live_fields <<<"$indexes")
  while IFS=$'\t' read -r group field flags; do
    if grep -qxF -- "$group"$'\t'"$field"$'\t'"$flags" <<<"$indexes"; then
      note "ok: $group.$field $flags"
    elif [ "$flags" = --enable-ttl ]; then
      run gcloud firestore fields ttls update "$field" --database="$DATABASE" --collection-group="$group" --enable-ttl --project="$PROJECT"
    else
      run gcloud firestore indexes fields update "$field" --database="$DATABASE" --collection-group="$group" "$flags" --project="$PROJECT"
    fi
  done < <(wanted_fields)
}

# wanted_indexes: of firestore.indexes.json: the fields, the collection group, the flags that make it.
wanted_indexes() {
  jq -r '.indexes[] | [
      (.collectionGroup + "(" + ([.fields[] | "\(.fieldPath) \(.order)"] | join(", ")) + ")"),
      .collectionGroup,
      ([.fields[] | "--field-config=field-path=\(.fieldPath),order=\(.order | ascii_downcase)"] | join(" "))
    ] | @tsv' "$GCP/firestore.indexes.json"
}

# wanted_fields: of the same file: collection group, field, and the flag that makes it so. The wildcard stands for every field
# that is not named; those that need an index are named before it, so that no count ever lacks its index.
wanted_fields() {
  jq -r '.fieldOverrides[] | . as $f
    | (if .fieldPath == "*" then "--disable-indexes" elif .indexes | length > 0 then "--index=order=\(.indexes[0].order | ascii_downcase)" else empty end),
      (if .ttl then "--enable-ttl" else empty end)
    | [$f.collectionGroup, $f.fieldPath, .] | @tsv' "$GCP/firestore.indexes.json"
}

# live_indexes, live_fields: what a list says is there, each as wanted_indexes and wanted_fields write it, a line each.
# Firestore ends every index with the document's name.
live_indexes() {
  jq -r '.[] | (.name | split("/")[-3]) + "(" + ([.fields[] | select(.fieldPath != "__name__") | "\(.fieldPath) \(.order)"] | join(", ")) + ")"'
}
live_fields() {
  jq -r '.[] | (.name | split("/")) as $name | (
      (if .ttlConfig.state then "--enable-ttl" else empty end),
      (if .indexConfig == null or .indexConfig.usesAncestorConfig == true then empty
       elif .indexConfig.indexes // [] | length == 0 then "--disable-indexes"
       else .indexConfig.indexes[].fields[] | "--index=order=\(.order | ascii_downcase)" end))
    | [$name[-3], $name[-1], .] | @tsv'
}

# wait_for_indexes: a query whose index is still being made fails. On an empty database that takes minutes.
wait_for_indexes() {
  local building end=$((SECONDS + 1200))
  [ "$STORE_KIND" = firestore ] || return 0
  say 'Indexes'
  while :; do
    ask building gcloud firestore indexes composite list --database="$DATABASE" --filter='state!=READY' --project="$PROJECT" --format='value(name)'
    [ -n "$building" ] && [ -z "$DRY_RUN" ] || return 0
    [ "$SECONDS" -lt "$end" ] || die "these are not ready after 20 minutes: $building; gcloud firestore operations list --database=$DATABASE --project=$PROJECT"
    note "$(wc -l <<<"$building") are being made"
    sleep "$WAIT"
  done
}

make_sql() {
  local user=$PREFIX password versions
  say "Cloud SQL instance $CLOUD_SQL_INSTANCE, with the database and the user $PREFIX"
  if exists gcloud sql instances describe "$CLOUD_SQL_INSTANCE" --project="$PROJECT"; then
    run gcloud sql instances patch "$CLOUD_SQL_INSTANCE" --tier="$CLOUD_SQL_TIER" --availability-type="$CLOUD_SQL_AVAILABILITY" --project="$PROJECT"
  else
    # Reached through Google's connector only: it has an address, and no network may use it.
    run gcloud beta sql instances create "$CLOUD_SQL_INSTANCE" --database-version="$CLOUD_SQL_VERSION" --region="$REGION" --edition=enterprise \
      --tier="$CLOUD_SQL_TIER" --availability-type="$CLOUD_SQL_AVAILABILITY" --storage-auto-increase --backup --enable-point-in-time-recovery \
      --deletion-protection --connector-enforcement=REQUIRED --labels="casewatch=$PREFIX" --timeout=unlimited --project="$PROJECT"
  fi
  exists gcloud sql databases describe "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT" ||
    run gcloud sql databases create "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT"
  # The password is only in the secret. A user whose password did not get there is given another one.
  ask versions gcloud secrets versions list "$PREFIX-store" --filter=state=enabled --project="$PROJECT" --format='value(name)'
  if [ -z "$versions" ] || [ -n "$DRY_RUN" ]; then
    password=
    [ -n "$DRY_RUN" ] || password=$(openssl rand -hex 24)
    (umask 077 && printf -- '--password: "%s"\n' "$password" >"$WORK/password.yaml")
    if exists gcloud sql users describe "$user" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT"; then
      run gcloud sql users set-password "$user" --instance="$CLOUD_SQL_INSTANCE" --flags-file="$WORK/password.yaml" --project="$PROJECT"
    else
      run gcloud sql users create "$user" --instance="$CLOUD_SQL_INSTANCE" --flags-file="$WORK/password.yaml" --project="$PROJECT"
    fi
    feed "postgres://$user:$password@/$PREFIX?host=/cloudsql/$CLOUD_SQL_CONNECTION" gcloud secrets versions add "$PREFIX-store" --data-file=- --project="$PROJECT"
    rm -f "$WORK/password.yaml"
  fi
}
