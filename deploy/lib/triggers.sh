# shellcheck shell=bash
# What calls the private functions, and what watches all of them: subscriptions, the sweep's job, metrics, alerts, the dashboard. Sourced.

ensure_subscriptions() {
  local name topic endpoint account audience ack retention least most dead attempts flags
  say 'Subscriptions'
  # Tabs are white space to read, which would swallow empty fields.
  while IFS='|' read -r name topic endpoint account audience ack retention least most dead attempts; do
    needs subscription "$name" || continue
    flags=(--ack-deadline="$ack" --message-retention-duration="$retention" --expiration-period=never --min-retry-delay="$least" --max-retry-delay="$most")
    [ -z "$endpoint" ] || flags+=(--push-endpoint="$endpoint" --push-auth-service-account="$account" --push-auth-token-audience="$audience")
    [ -z "$dead" ] || flags+=(--dead-letter-topic="projects/$PROJECT/topics/$dead" --max-delivery-attempts="$attempts")
    [ "$HOW" = update ] || flags+=(--topic="$topic" --labels="casewatch=$PREFIX")
    run gcloud pubsub subscriptions "$HOW" "$name" "${flags[@]}" --project="$PROJECT"
  done < <(get '.subscriptions[] | [.name, .topic, .endpoint, .account, .audience, .ack_deadline, .retention, .min_backoff, .max_backoff, .dead_letter_topic, .max_delivery_attempts] | join("|")')
}

ensure_job() {
  local name
  name=$(get .job.name)
  say 'The job of the sweep'
  ! needs job "$name" || run gcloud scheduler jobs "$HOW" http "$name" --location="$REGION" --schedule="$(get .job.schedule)" --time-zone=Etc/UTC \
    --uri="$(get .job.url)" --http-method=POST --oidc-service-account-email="$(get .job.account)" --oidc-token-audience="$(get .job.url)" \
    --attempt-deadline="$(get .job.attempt_deadline)s" --max-retry-attempts=3 --min-backoff=5s --max-backoff=60s --max-doublings=4 --project="$PROJECT"
}

ensure_monitoring() {
  local name path live
  say 'Metrics'
  while read -r name path; do
    ! needs metric "$name" || run gcloud logging metrics "$HOW" "$name" --config-from-file="$WORK/$path" --project="$PROJECT"
  done < <(get '.metrics[] | "\(.name) \(.path)"')
  ensure_channel
  say 'Alert policies'
  while read -r name path; do
    needs alert "$name" || continue
    if [ "$HOW" = create ]; then
      run gcloud alpha monitoring policies create --policy-from-file="$WORK/$path" --project="$PROJECT"
    else
      live=$(jq -r --arg prefix "$PREFIX" --arg file "$name" 'first(.[] | select(.userLabels.casewatch == $prefix and .userLabels["casewatch-file"] == $file).name)' "$STATE/alerts.json")
      run gcloud alpha monitoring policies update "$live" --policy-from-file="$WORK/$path" --project="$PROJECT"
    fi
  done < <(get '.alerts[] | "\(.name) \(.path)"')
  say 'Dashboard'
  while read -r name path; do
    needs dashboard "$name" || continue
    if [ "$HOW" = create ]; then
      run gcloud monitoring dashboards create --config-from-file="$WORK/$path" --project="$PROJECT"
    else
      live=$(jq -c --arg prefix "$PREFIX" 'first(.[] | select(.labels.casewatch == $prefix)) | {name, etag}' "$STATE/dashboards.json")
      # Without the etag that it was read with, an update is refused.
      jq --argjson live "$live" '. + {etag: $live.etag}' "$WORK/$path" >"$WORK/$path.next" && mv "$WORK/$path.next" "$WORK/$path"
      run gcloud monitoring dashboards update "$(jq -r .name <<<"$live")" --config-from-file="$WORK/$path" --project="$PROJECT"
    fi
  done < <(get '.dashboards[] | "\(.name) \(.path)"')
}

# ensure_channel: the e-mail address that alerts go to. The policies name it by the id that it gets.
ensure_channel() {
  local email
  email=$(get '.alert_email // empty')
  [ -n "$email" ] || return 0
  say 'Notification channel'
  needs channel "$email" || return 0
  run gcloud beta monitoring channels create --type=email --display-name="$PREFIX alerts" --channel-labels="email_address=$email" \
    --user-labels="casewatch=$PREFIX" --project="$PROJECT"
  [ -n "$DRY_RUN" ] && return
  list channels monitoring gcloud beta monitoring channels list
  all_read
  compare
  settings render "$WORK"
}
