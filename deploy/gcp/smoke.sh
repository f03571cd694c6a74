#!/usr/bin/env bash
# Takes a canary case through what is live: sees that the private functions refuse whoever shows no token, starts a case with
# an API key from Secret Manager, and follows it to its end. Exits with 0 if the case succeeded.
#
#   deploy/gcp/smoke.sh ENV               at START_URL and STATUS_URL
#   deploy/gcp/smoke.sh ENV --candidate   at the new revisions of start and status, which have no traffic yet
#
# With SKIP_CANARY=true no case is started; that start and status answer is tried all the same.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
usage='usage: smoke.sh ENV [--candidate]'
case $#/${2:-} in 1/ | 2/--candidate) ;; *) die "$usage" ;; esac
begin "$1"
. "$GCP/release.sh"

start=$START_URL status=$STATUS_URL
read_services
[ -n "${NEWEST[start]:-}" ] || die "there is no $PREFIX-start in $PROJECT, $REGION"
if [ "${2:-}" = --candidate ]; then
  case $(of INGRESS start)/$(of INGRESS status) in
  all/all) start=${CANDIDATE_URL[start]} status=${CANDIDATE_URL[status]} ;;
  *)
    # A tag's address is a run.app address, and those are closed here.
    say 'The candidates cannot be reached from outside: INGRESS closes their addresses. The first canary goes through them after the promotion'
    exit 0
    ;;
  esac
  [ -n "$start$status" ] || die 'neither start nor status has a candidate'
  start=${start:-$START_URL} status=${status:-$STATUS_URL}
fi

# call METHOD URL [ARGUMENT …]: prints the status; the answer and its headers are in files.
call() {
  local method=$1 to=$2
  shift 2
  curl -sS --max-time 90 -X "$method" -D "$WORK/headers" -o "$WORK/answer" -w '%{http_code}' "$@" "$to"
}

say 'start and status answer'
for address in "$start" "$status"; do
  for ((try = 0; ; try++)); do
    code=$(call GET "$address/probe") || code=none
    # Ours answer with JSON. That anybody may call a new service takes a minute or two to be known.
    ! grep -qiE '^content-type: *application/[a-z.+-]*json' "$WORK/headers" || [[ $code = 5* ]] || break
    [ "$try" -lt 12 ] || die "$address is answered $code, not by the function: $(head -c 300 "$WORK/answer")"
    note "$address is answered $code; again in $WAIT s"
    sleep "$WAIT"
  done
  note "ok: $address"
done

say 'The private functions refuse whoever shows no token'
for f in $FUNCTIONS; do
  [ "$(of CALLER "$f")" != public ] || continue
  code=$(call POST "$(url "$f")" -H 'Content-Type: application/json' -d '{}') || die "$f cannot be reached"
  case $code in
  401 | 403 | 404) note "ok: $f answers $code" ;; # 404: from outside there is nothing, by its ingress
  302) # IAP's sign-in
    [ "$CONSOLE_IAP/$f" = true/console ] || die "$f answers 302"
    note "ok: $f asks to sign in"
    ;;
  *) die "$f answers $code to whoever calls it, not 401, 403 or 404: anyone may call it" ;;
  esac
done

if [ "$SKIP_CANARY" = true ]; then
  say 'No canary case: SKIP_CANARY is true'
  exit 0
fi

say 'A canary case'
key=$(api_key) || die 'no API key could be read: API_KEYS has only hashes, and a canary needs a plain key, or its secret is not for you'
(umask 077 && printf 'header = "X-API-Key: %s"\n' "$key" >"$WORK/key") # in a file: arguments can be seen by others
form=$CANARY_FORM
[[ $form = /* ]] || form=$GCP/$form
id=canary-$(date -u +%Y%m%dt%H%M%S)-$RANDOM
jq --arg id "$id" '.case_id = $id' "$form" >"$WORK/form" || die "$form is no form"
code=$(call POST "$start?deadline=${CANARY_DEADLINE}s" --config "$WORK/key" -H 'Content-Type: application/json' --data-binary "@$WORK/form") || die "start cannot be reached at $start"
[ "$code" = 202 ] || die "start answered $code, not 202: $(head -c 500 "$WORK/answer")"
note "started $id"

etag='' line='' shown=''
SECONDS=0
while :; do
  # Each call waits for news. The run ends at its deadline by itself, and the sweep comes a little later.
  [ "$SECONDS" -le $((CANARY_DEADLINE + 300)) ] || die "$id has not ended after $SECONDS s: $status/$id"
  code=$(call GET "$status/$id?wait=20s" --config "$WORK/key" -H "If-None-Match: $etag") || code=none
  case $code in
  304) continue ;;
  200) ;;
  429 | 5?? | none)
    note "status answered $code; again"
    sleep 2
    continue
    ;;
  *) die "status answered $code: $(head -c 500 "$WORK/answer")" ;;
  esac
  etag=$(tr -d '\r' <"$WORK/headers" | awk 'tolower($1) == "etag:" { $1 = ""; sub(/^ /, ""); print }')
  line=$(jq -r '"\(.state) \(.progress.completed) of \(.progress.total)"' "$WORK/answer")
  [ "$line" = "$shown" ] || note "$line"
  shown=$line
  [ "$(jq -r '.ended_at != null' "$WORK/answer")" = false ] || break
  [ -n "$etag" ] || sleep 2
done
note "$(jq -r '"ended \(.state) after \(.duration_seconds) s, \(.end.reason) by \(.end.source), \(.checks.count) checks: \(.end.message)"' "$WORK/answer")"
[ "$(jq -r .state "$WORK/answer")" = succeeded ] || die "the canary $id did not succeed"
