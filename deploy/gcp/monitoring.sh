# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # variables of jq; names that the files of monitoring take; set by read_env
# Metrics, alerts, uptime checks and the dashboard, as the files of monitoring/ describe them.

# The uptime checks name a host and a path.
STATUS_PATH=${STATUS_URL#https://}/-/openapi.yaml COMPLETE_HOST=$(url complete)
RUNBOOKS=$RUNBOOKS_URL STATUS_HOST=${STATUS_PATH%%/*} STATUS_PATH=/${STATUS_PATH#*/} COMPLETE_HOST=${COMPLETE_HOST#https://}
LISTED='' CHANNELS=''

# listed FILTER: of the last list that was read into LISTED. In a dry run there is nothing.
listed() { [ -n "$DRY_RUN" ] || jq -r --arg prefix "$PREFIX" "$@" <<<"$LISTED"; }

# find_channels sets CHANNELS to who is told, as the files of alerts take it.
find_channels() {
  local channel=''
  CHANNELS=${NOTIFICATION_CHANNELS//,/'", "'}
  [ -n "$ALERT_EMAIL" ] || return 0
  ask LISTED gcloud beta monitoring channels list --project="$PROJECT" --format=json
  channel=$(listed --arg email "$ALERT_EMAIL" 'first(.[] | select(.userLabels.casewatch == $prefix and .labels.email_address == $email).name)')
  [ -n "$channel" ] || return 1
  CHANNELS+=${CHANNELS:+'", "'}$channel
}

# read_alerts sets ALERT, by the names of the files, to the names that Google gave the policies; and ENABLED.
declare -A ALERT=() ENABLED=()
read_alerts() {
  local alert name enabled
  ask LISTED gcloud alpha monitoring policies list --project="$PROJECT" --format=json
  while read -r alert name enabled; do
    ALERT[$alert]=$name ENABLED[$alert]=$enabled
  done < <(listed '.[] | select(.userLabels.casewatch == $prefix) | "\(.userLabels.alert) \(.name) \(.enabled != false)"')
}

make_monitoring() {
  local file name live path
  say 'Metrics'
  for file in "$GCP"/monitoring/metrics/*.yaml; do
    name=${file##*/} && name=$PREFIX-${name%.yaml}
    fill "$file" >"$WORK/${file##*/}"
    if exists gcloud logging metrics describe "$name" --project="$PROJECT"; then
      run gcloud logging metrics update "$name" --config-from-file="$WORK/${file##*/}" --project="$PROJECT"
    else
      run gcloud logging metrics create "$name" --config-from-file="$WORK/${file##*/}" --project="$PROJECT"
    fi
  done

  say 'Uptime checks: status answers, and complete refuses whoever shows no token'
  ask LISTED gcloud monitoring uptime list-configs --project="$PROJECT" --format=json
  each_uptime

  say 'Alerts'
  if ! find_channels; then
    run gcloud beta monitoring channels create --type=email --display-name="$PREFIX alerts" --channel-labels="email_address=$ALERT_EMAIL" \
      --user-labels="casewatch=$PREFIX" --project="$PROJECT"
    find_channels || CHANNELS='{CHANNEL}'
  fi
  read_alerts
  for file in "$GCP"/monitoring/alerts/*.json; do
    name=${file##*/} && name=${name%.json}
    fill "$file" >"$WORK/$name.json"
    live=${ALERT[$name]:-}
    if [ -n "$live" ]; then
      run gcloud alpha monitoring policies update "$live" --policy-from-file="$WORK/$name.json" --project="$PROJECT"
    else
      run gcloud alpha monitoring policies create --policy-from-file="$WORK/$name.json" --project="$PROJECT"
    fi
  done

  say 'Dashboard'
  fill "$GCP/monitoring/dashboard.json" >"$WORK/dashboard.json"
  ask LISTED gcloud monitoring dashboards list --project="$PROJECT" --format=json
  live=$(listed 'first(.[] | select(.labels.casewatch == $prefix).name)')
  if [ -n "$live" ]; then
    # An update without the etag that was read is refused.
    jq --arg etag "$(listed 'first(.[] | select(.labels.casewatch == $prefix).etag)')" '.etag = $etag' "$WORK/dashboard.json" >"$WORK/dashboard.next"
    run gcloud monitoring dashboards update "$live" --config-from-file="$WORK/dashboard.next" --project="$PROJECT"
  else
    run gcloud monitoring dashboards create --config-from-file="$WORK/dashboard.json" --project="$PROJECT"
  fi
}

each_uptime() {
  uptime "$PREFIX status" "$STATUS_HOST" "$STATUS_PATH" 2xx
  uptime "$PREFIX complete" "$COMPLETE_HOST" / 403,404
}

# uptime TITLE HOST PATH STATUS: an uptime check, asked every 5 minutes from several places of the world.
uptime() {
  local title=$1 host=$2 path=$3 status=$4 live create update
  case $status in
  *xx) create=--status-classes=$status update=--set-status-classes=$status ;;
  *) create=--status-codes=$status update=--set-status-codes=$status ;;
  esac
  live=$(listed --arg title "$title" 'first(.[] | select(.displayName == $title).name | split("/") | last)')
  if [ -n "$live" ]; then
    run gcloud monitoring uptime update "$live" --path="$path" "$update" --period=5 --timeout=10 --project="$PROJECT"
  else
    run gcloud monitoring uptime create "$title" --resource-type=uptime-url --resource-labels="host=$host,project_id=$PROJECT" --protocol=https --port=443 \
      --path="$path" "$create" --period=5 --timeout=10 --user-labels="casewatch=$PREFIX" --project="$PROJECT"
  fi
}
