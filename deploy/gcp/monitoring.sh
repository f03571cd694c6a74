# shellcheck shell=bash
# shellcheck disable=SC2016,SC2034,SC2154 # variables of jq; names that the files of monitoring use; set by read_env
# Metrics, alerts, uptime checks and the dashboard, from the files in monitoring/.

# A file of monitoring names a host and a path separately.
STATUS_PATH=${STATUS_URL#https://}/-/openapi.yaml COMPLETE_HOST=$(url complete)
RUNBOOKS=$RUNBOOKS_URL STATUS_HOST=${STATUS_PATH%%/*} STATUS_PATH=/${STATUS_PATH#*/}
COMPLETE_HOST=${COMPLETE_HOST#https://}
LISTED='' CHANNELS='' DASHBOARD='' DASHBOARD_ETAG=''
# Google chooses the names of alerts, uptime checks, channels and dashboards. The label casewatch
# says whose they are. ALERT holds the name of an alert, and ENABLED whether it is enabled, by the
# name of its file. UPTIME holds the id of an uptime check, by its title.
declare -A ALERT=() ENABLED=() UPTIME=()

# find_channels sets CHANNELS to the notification channels, as the files of alerts hold them. It
# fails if there is no channel for ALERT_EMAIL yet.
find_channels() {
  local label address name channel=''
  CHANNELS=${NOTIFICATION_CHANNELS//,/'", "'}
  [ -n "$ALERT_EMAIL" ] || return 0
  ask LISTED gcloud beta monitoring channels list --project="$PROJECT" \
    --format='value[separator="|"](userLabels.casewatch, labels.email_address, name)'
  while IFS='|' read -r label address name; do
    [ "$label $address" != "$PREFIX $ALERT_EMAIL" ] || channel=$name
  done <<<"$LISTED"
  [ -n "$channel" ] || return 1
  CHANNELS+=${CHANNELS:+'", "'}$channel
}

# read_alerts sets ALERT and ENABLED.
read_alerts() {
  local label alert name enabled
  ask LISTED gcloud alpha monitoring policies list --project="$PROJECT" \
    --format='value[separator="|"](userLabels.casewatch, userLabels.alert, name, enabled)'
  while IFS='|' read -r label alert name enabled; do
    [ "$label" != "$PREFIX" ] || ALERT[$alert]=$name ENABLED[$alert]=${enabled,,}
  done <<<"$LISTED"
}

# read_uptime sets UPTIME.
read_uptime() {
  local label title id
  ask LISTED gcloud monitoring uptime list-configs --project="$PROJECT" \
    --format='value[separator="|"](userLabels.casewatch, displayName, name.basename())'
  while IFS='|' read -r label title id; do
    [ "$label" != "$PREFIX" ] || UPTIME[$title]=$id
  done <<<"$LISTED"
}

# read_dashboard sets DASHBOARD and DASHBOARD_ETAG.
read_dashboard() {
  local label name etag
  ask LISTED gcloud monitoring dashboards list --project="$PROJECT" \
    --format='value[separator="|"](labels.casewatch, name, etag)'
  while IFS='|' read -r label name etag; do
    [ "$label" != "$PREFIX" ] || DASHBOARD=$name DASHBOARD_ETAG=$etag
  done <<<"$LISTED"
}

make_monitoring() {
  local file name
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

  say 'Uptime checks: status answers, and complete rejects calls without a token'
  read_uptime
  uptime_checks

  say 'Alerts'
  if ! find_channels; then
    run gcloud beta monitoring channels create --type=email --display-name="$PREFIX alerts" \
      --channel-labels="email_address=$ALERT_EMAIL" --user-labels="casewatch=$PREFIX" --project="$PROJECT"
    find_channels || CHANNELS='{CHANNEL}'
  fi
  read_alerts
  for file in "$GCP"/monitoring/alerts/*.json; do
    name=${file##*/} && name=${name%.json}
    fill "$file" >"$WORK/$name.json"
    if [ -n "${ALERT[$name]:-}" ]; then
      run gcloud alpha monitoring policies update "${ALERT[$name]}" --policy-from-file="$WORK/$name.json" \
        --project="$PROJECT"
    else
      run gcloud alpha monitoring policies create --policy-from-file="$WORK/$name.json" --project="$PROJECT"
    fi
  done

  say 'Dashboard'
  fill "$GCP/monitoring/dashboard.json" >"$WORK/dashboard.json"
  read_dashboard
  if [ -n "$DASHBOARD" ]; then
    # Google rejects an update without the etag of the last read.
    jq --arg etag "$DASHBOARD_ETAG" '.etag = $etag' "$WORK/dashboard.json" >"$WORK/dashboard.next"
    run gcloud monitoring dashboards update "$DASHBOARD" --config-from-file="$WORK/dashboard.next" --project="$PROJECT"
  else
    run gcloud monitoring dashboards create --config-from-file="$WORK/dashboard.json" --project="$PROJECT"
  fi
}

# uptime_checks calls uptime TITLE HOST PATH STATUS for each uptime check.
uptime_checks() {
  uptime "$PREFIX status" "$STATUS_HOST" "$STATUS_PATH" 2xx
  uptime "$PREFIX complete" "$COMPLETE_HOST" / 403,404
}

# uptime TITLE HOST PATH STATUS: creates or updates an uptime check. Google sends the request every
# 5 minutes, from several regions of the world.
uptime() {
  local title=$1 host=$2 path=$3 status=$4 create update
  case $status in
  *xx) create=--status-classes=$status update=--set-status-classes=$status ;;
  *) create=--status-codes=$status update=--set-status-codes=$status ;;
  esac
  if [ -n "${UPTIME[$title]:-}" ]; then
    run gcloud monitoring uptime update "${UPTIME[$title]}" --path="$path" "$update" --period=5 --timeout=10 \
      --project="$PROJECT"
  else
    run gcloud monitoring uptime create "$title" --resource-type=uptime-url \
      --resource-labels="host=$host,project_id=$PROJECT" --protocol=https --port=443 --path="$path" "$create" \
      --period=5 --timeout=10 --user-labels="casewatch=$PREFIX" --project="$PROJECT"
  fi
}
