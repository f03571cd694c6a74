#!/usr/bin/env bash
# Takes a canary case through the live system to its end: starts it with an API key from Secret Manager and follows its status. Also sees that the
# private functions, and the console if there is one, refuse who does not say who it is. Exits with 0 if the case succeeded.
#
#   deploy/smoke.sh ENV                   what serves
#   deploy/smoke.sh ENV --tag candidate   what start and status answer under a tag; the one that has no such revision, as it serves
#
# CANARY_FORM of the env file is the form (deploy/canary.json), CANARY_DEADLINE the seconds that the case may take.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib/begin.sh"
. "$DEPLOY/lib/live.sh"
. "$DEPLOY/lib/services.sh"
. "$DEPLOY/lib/canary.sh"

TAG=
usage='usage: smoke.sh ENV [--tag TAG]'
[ "$#" = 1 ] || { [ "$#" = 3 ] && [ "$2" = --tag ]; } || die "$usage"
[ "$#" = 1 ] || TAG=$3

# call METHOD URL [ARGUMENT ...]: prints the status; body and headers are in files.
call() {
  local method=$1 to=$2
  shift 2
  curl -sS --max-time 90 --config "$WORK/key" -X "$method" -D "$WORK/headers" -o "$WORK/body" -w '%{http_code}' "$@" "$to"
}

begin "$1"
echo '[{"name": "x/run.googleapis.com"}]' >"$STATE/apis.json"
read_services
if [ -n "$TAG" ]; then
  jq -e --arg tag "$TAG" --arg start "$PREFIX-start" --arg status "$PREFIX-status" \
    'any(.[] | select(.metadata.name == ($start, $status)).status.traffic[]?; .tag == $tag)' "$STATE/services.json" >/dev/null ||
    die "neither $PREFIX-start nor $PREFIX-status has a revision with the tag $TAG"
fi

say 'The private functions refuse who does not say who it is'
while IFS='|' read -r function ingress iap; do
  address=$(url "$function")
  status=$(curl -sS --max-time 60 -o /dev/null -w '%{http_code} %{redirect_url}' -X POST -H 'Content-Type: application/json' -d '{}' "$address") || die "$function cannot be reached at $address"
  case $status in
  '401 ' | '403 ') note "ok: $function answers $status" ;;
  '302 https://accounts.google.com/'*) [ "$iap" = true ] || die "$function sends an anonymous call to Google's sign-in: is IAP before it?" && note "ok: $function asks to sign in" ;;
  '404 ') [ "$ingress" != all ] || die "$function answers 404 to anyone: is it deployed?" && note "ok: $function is not to be seen from here" ;;
  *) die "$function answers $status to an anonymous call, not 401 or 403: anyone may call it" ;;
  esac
done < <(get '.services[] | select(.public | not) | "\(.function)|\(.ingress)|\(.iap)"')

say 'A canary case'
key=$(api_key) || die 'no API key could be read'
[ -n "$key" ] || die "API_KEYS has no plain key, only hashes: a canary needs one"
(umask 077 && printf 'header = "X-API-Key: %s"\n' "$key" >"$WORK/key")
form=$(get .canary.form) limit=$(get .canary.deadline)
[[ $form = /* ]] || form=$DEPLOY/$form
id=canary-$(date -u +%Y%m%dt%H%M%S)-$RANDOM
jq --arg id "$id" '. + {case_id: $id}' "$form" >"$WORK/form" || die "$form is no form"
address=$(url start)
SECONDS=0
while :; do
  status=$(call POST "$address?deadline=${limit}s" -H 'Content-Type: application/json' --data-binary "@$WORK/form") || die "start cannot be reached at $address"
  # That anyone may call a new service takes a minute or two until every server of Google's knows it. Ours refuse with JSON.
  [[ $status = 40[13] ]] || break
  ! grep -qiE '^content-type: *application/[a-z.+-]*json' "$WORK/headers" || break
  [ "$SECONDS" -lt 180 ] || break
  note "start answered $status, not by itself; again"
  sleep "$RETRY_SECONDS"
done
[ "$status" = 202 ] || die "start answered $status, not 202: $(head -c 500 "$WORK/body")"
note "started $id"

address=$(url status)/$id
state='' etag='' shown=''
SECONDS=0
while :; do
  # Each call waits for news. The run ends at its deadline by itself, and the sweep comes a little later.
  [ "$SECONDS" -le $((limit + 300)) ] || die "$id has not ended after $SECONDS s: $address"
  status=$(call GET "$address?wait=20s" -H "If-None-Match: $etag") || status='none'
  case $status in
  304) continue ;;
  200) ;;
  429 | 5?? | none)
    note "status answered $status; again"
    sleep 2
    continue
    ;;
  *) die "status answered $status: $(head -c 500 "$WORK/body")" ;;
  esac
  etag=$(tr -d '\r' <"$WORK/headers" | awk 'tolower($1) == "etag:" { $1 = ""; sub(/^ /, ""); print }')
  state=$(jq -r .state "$WORK/body")
  line=$(jq -r '"\(.state) \(.progress.completed) of \(.progress.total)"' "$WORK/body")
  [ "$line" = "$shown" ] || note "$line"
  shown=$line
  [ "$(jq -r '.ended_at != null' "$WORK/body")" = false ] || break
  [ -n "$etag" ] || sleep 2
done
note "$(jq -r '"ended \(.state) after \(.duration_seconds) s, \(.end.reason) by \(.end.source), \(.checks.count) checks: \(.end.message)"' "$WORK/body")"
[ "$state" = succeeded ] || die "the canary $id ended $state"
