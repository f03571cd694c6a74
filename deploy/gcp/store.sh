# shellcheck shell=bash
# shellcheck disable=SC2154 # set by read_env
# The store of the cases: a Firestore database, or a database and a user in a Cloud SQL instance.
# Their names begin with PREFIX. Each has a mark that names its owner. So two environments in one
# project cannot use or delete each other's cases.
#
# The mark of a Firestore database is the document casewatch/owner in it. The mark of a Cloud SQL
# database is the secret PREFIX-store: it is created before the database, and holds its URL. The
# mark of an instance is its label.

OWNER='' # the PREFIX in the mark of the Firestore database; empty if there is no mark, or no database yet

# check_store ends the script if the store has another kind or location than the env file says, or
# another owner.
check_store() {
  local is
  case $STORE_KIND in
  firestore)
    exists gcloud firestore databases describe --database="$DATABASE" --project="$PROJECT" \
      --format='value[separator=" in "](type, locationId)' || return 0
    is=$(<"$WORK/out")
    [ "$is" = "FIRESTORE_NATIVE in $FIRESTORE_LOCATION" ] ||
      die "the database $DATABASE is $is, not FIRESTORE_NATIVE in $FIRESTORE_LOCATION;" \
        "neither can be changed: name another database with STORE=firestore:NAME"
    check_owner
    ;;
  cloudsql)
    exists gcloud sql instances describe "$CLOUD_SQL_INSTANCE" --project="$PROJECT" \
      --format='value[separator=" in "](databaseVersion, region)' || return 0
    is=$(<"$WORK/out")
    [ "$is" = "$CLOUD_SQL_VERSION in $REGION" ] ||
      die "the instance $CLOUD_SQL_INSTANCE is $is, not $CLOUD_SQL_VERSION in $REGION"
    exists gcloud sql databases describe "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT" || return 0
    exists gcloud secrets describe "$PREFIX-store" --project="$PROJECT" ||
      die "the instance $CLOUD_SQL_INSTANCE has a database $PREFIX that this environment did not create:" \
        "there is no secret $PREFIX-store"
    ;;
  esac
}

# documents METHOD PATH [ARGUMENT …]: sends a request to the documents of the Firestore database. It
# prints the status. The answer is in $WORK/answer.
documents() {
  local method=$1 path=$2
  shift 2
  curl -sS --max-time 60 -X "$method" -o "$WORK/answer" -w '%{http_code}' -H 'Content-Type: application/json' \
    --config <(printf 'header = "Authorization: Bearer %s"\n' "$(gcloud auth print-access-token)") \
    "$@" "https://firestore.googleapis.com/v1/projects/$PROJECT/databases/$DATABASE/documents$path"
}

# store_owner prints the PREFIX that owns the Firestore database, and nothing if the database has no
# mark.
store_owner() {
  local status
  status=$(documents GET /casewatch/owner) || die 'Firestore cannot be reached'
  case $status in
  200) jq -r '.fields.prefix.stringValue' "$WORK/answer" ;;
  404) ;;
  *) die "the owner of the database $DATABASE cannot be read: $status $(head -c 300 "$WORK/answer")" ;;
  esac
}

# check_owner ends the script if the database belongs to another environment, or has no mark and is
# not empty.
check_owner() {
  local status
  OWNER=$(store_owner) || exit 1
  [ "$OWNER" != "$PREFIX" ] || return 0
  [ -z "$OWNER" ] || die "the database $DATABASE belongs to the environment $OWNER, not to $PREFIX"
  status=$(documents POST :listCollectionIds -d '{"pageSize": 1}') || die 'Firestore cannot be reached'
  [ "$status $(jq -r '.collectionIds | length' "$WORK/answer")" = '200 0' ] ||
    die "the database $DATABASE is not empty and has no owner: name another one with STORE=firestore:NAME"
}

make_store() {
  case $STORE_KIND in
  firestore) make_firestore ;;
  cloudsql) make_sql ;;
  secret) say 'Store: a PostgreSQL database of yours; its URL is in the secret' ;;
  esac
}

make_firestore() {
  local state group name flags indexes fields id
  say "Firestore database $DATABASE, with point-in-time recovery, daily backups, indexes and expiry"
  if exists gcloud firestore databases describe --database="$DATABASE" --project="$PROJECT"; then
    run gcloud firestore databases update --database="$DATABASE" --delete-protection --enable-pitr --project="$PROJECT"
  else
    run gcloud firestore databases create --database="$DATABASE" --location="$FIRESTORE_LOCATION" \
      --type=firestore-native --delete-protection --enable-pitr --project="$PROJECT"
  fi
  note "the document casewatch/owner in it names $PREFIX"
  if [ -z "$DRY_RUN" ] && [ "$OWNER" != "$PREFIX" ]; then
    [ "$(documents PATCH /casewatch/owner -d "{\"fields\": {\"prefix\": {\"stringValue\": \"$PREFIX\"}}}")" = 200 ] ||
      die "the owner of the database $DATABASE could not be written: $(head -c 300 "$WORK/answer")"
  fi

  # A backup outlives the database; point-in-time recovery does not.
  ask id gcloud firestore backups schedules list --database="$DATABASE" --project="$PROJECT" \
    --format='value(name.basename())'
  if [ -z "$id" ] || [ -n "$DRY_RUN" ]; then
    run gcloud firestore backups schedules create --database="$DATABASE" --recurrence=daily \
      --retention="${BACKUP_DAYS}d" --project="$PROJECT"
  else
    run gcloud firestore backups schedules update --database="$DATABASE" --backup-schedule="${id%%$'\n'*}" \
      --retention="${BACKUP_DAYS}d" --project="$PROJECT"
  fi

  # The queries need these indexes (a test in shared/store/firestore compares them). An index takes
  # minutes to build; wait_for_indexes waits for it. Firestore takes one change of a collection's
  # fields at a time, so those commands wait.
  ask indexes gcloud firestore indexes composite list --database="$DATABASE" --project="$PROJECT" --format=json
  ask fields gcloud firestore indexes fields list --database="$DATABASE" --project="$PROJECT" --format=json
  while IFS=$'\t' read -r state group name flags; do
    case $state/$flags in
    there/--field-config=*) note "ok: index $group$name" ;;
    there/*) note "ok: $group.$name $flags" ;;
    */--field-config=*)
      # shellcheck disable=SC2086 # several flags; none holds a space
      run gcloud firestore indexes composite create --database="$DATABASE" --collection-group="$group" \
        --query-scope=collection $flags --async --project="$PROJECT"
      ;;
    */--enable-ttl)
      run gcloud firestore fields ttls update "$name" --database="$DATABASE" --collection-group="$group" \
        --enable-ttl --project="$PROJECT"
      ;;
    *)
      run gcloud firestore indexes fields update "$name" --database="$DATABASE" --collection-group="$group" "$flags" \
        --project="$PROJECT"
      ;;
    esac
  done < <(compare_indexes "$indexes" "$fields")
}

# compare_indexes INDEXES FIELDS: compares firestore.indexes.json with the live indexes and field
# settings, in the JSON of their list commands. It prints a line for each that the file holds:
# "there" or "missing", the collection group, the name, and the flags that create it. The name of an
# index lists its fields. The field * stands for all fields without a line. The fields with an index
# come before it, so that no count loses its index in between.
compare_indexes() {
  [ -z "$DRY_RUN" ] || set -- '[]' '[]'
  jq -r --argjson indexes "$1" --argjson fields "$2" '
    def index_name: "(" + ([.[] | select(.fieldPath != "__name__") | "\(.fieldPath) \(.order)"] | join(", ")) + ")";
    def index_flag: "--index=order=\(.order | ascii_downcase)";
    def row($live): (if . as $row | $live | index([$row]) then "there" else "missing" end), .[] ;

    # Firestore adds the name of the document to every index: index_name leaves it out.
    [$indexes[] | [(.name | split("/")[-3]), (.fields | index_name)]] as $live_indexes
    | [$fields[] | (.name | split("/")) as $name
       | ((if .ttlConfig.state then "--enable-ttl" else empty end),
          (if .indexConfig == null or .indexConfig.usesAncestorConfig == true then empty
           elif .indexConfig.indexes // [] | length == 0 then "--disable-indexes"
           else .indexConfig.indexes[].fields[] | index_flag end))
       | [$name[-3], $name[-1], .]] as $live_fields
    | (.indexes[]
       | ([.collectionGroup, (.fields | index_name)]) as $row
       | [($row | row($live_indexes)),
          ([.fields[] | "--field-config=field-path=\(.fieldPath),order=\(.order | ascii_downcase)"] | join(" "))]),
      (.fieldOverrides[] | . as $field
       | (if .fieldPath == "*" then "--disable-indexes"
          elif .indexes | length > 0 then .indexes[0] | index_flag
          else empty end),
         (if .ttl then "--enable-ttl" else empty end)
       | [[$field.collectionGroup, $field.fieldPath, .] | row($live_fields)])
    | @tsv' "$GCP/firestore.indexes.json"
}

# wait_for_indexes waits until all indexes are built, for at most 20 minutes: a query without its
# index fails. On an empty database an index takes minutes.
wait_for_indexes() {
  local building end=$((SECONDS + 1200))
  [ "$STORE_KIND" = firestore ] || return 0
  say 'Indexes'
  while :; do
    ask building gcloud firestore indexes composite list --database="$DATABASE" --filter='state!=READY' \
      --project="$PROJECT" --format='value(name)'
    [ -n "$building" ] && [ -z "$DRY_RUN" ] || return 0
    [ "$SECONDS" -lt "$end" ] || die "these indexes are not ready after 20 minutes: $building;" \
      "gcloud firestore operations list --database=$DATABASE --project=$PROJECT"
    note "indexes that are not ready yet: $(wc -l <<<"$building")"
    sleep "$WAIT"
  done
}

make_sql() {
  local user=$PREFIX password versions
  say "Cloud SQL instance $CLOUD_SQL_INSTANCE, with the database and the user $PREFIX"
  if exists gcloud sql instances describe "$CLOUD_SQL_INSTANCE" --project="$PROJECT"; then
    run gcloud sql instances patch "$CLOUD_SQL_INSTANCE" --tier="$CLOUD_SQL_TIER" \
      --availability-type="$CLOUD_SQL_AVAILABILITY" --project="$PROJECT"
  else
    # Only Google's connector can reach the instance: it has an address that no network may use.
    run gcloud beta sql instances create "$CLOUD_SQL_INSTANCE" --database-version="$CLOUD_SQL_VERSION" \
      --region="$REGION" --edition=enterprise --tier="$CLOUD_SQL_TIER" \
      --availability-type="$CLOUD_SQL_AVAILABILITY" --storage-auto-increase --backup --enable-point-in-time-recovery \
      --deletion-protection --connector-enforcement=REQUIRED --labels="casewatch=$PREFIX" --timeout=unlimited \
      --project="$PROJECT"
  fi
  exists gcloud sql databases describe "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT" ||
    run gcloud sql databases create "$PREFIX" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT"
  # Only the secret holds the password. If the script broke off before it was stored, the user gets
  # a new one.
  ask versions gcloud secrets versions list "$PREFIX-store" --filter=state=enabled --project="$PROJECT" \
    --format='value(name)'
  if [ -z "$versions" ] || [ -n "$DRY_RUN" ]; then
    password=
    [ -n "$DRY_RUN" ] || password=$(openssl rand -hex 24)
    (umask 077 && printf -- '--password: "%s"\n' "$password" >"$WORK/password.yaml")
    if exists gcloud sql users describe "$user" --instance="$CLOUD_SQL_INSTANCE" --project="$PROJECT"; then
      run gcloud sql users set-password "$user" --instance="$CLOUD_SQL_INSTANCE" \
        --flags-file="$WORK/password.yaml" --project="$PROJECT"
    else
      run gcloud sql users create "$user" --instance="$CLOUD_SQL_INSTANCE" \
        --flags-file="$WORK/password.yaml" --project="$PROJECT"
    fi
    run_with_input "postgres://$user:$password@/$PREFIX?host=/cloudsql/$CLOUD_SQL_CONNECTION" \
      gcloud secrets versions add "$PREFIX-store" --data-file=- --project="$PROJECT"
    rm -f "$WORK/password.yaml"
  fi
}
