#!/usr/bin/env bash
# Tests a live environment with a canary case. It checks that the private functions reject a call
# without a token. Then it starts a case with an API key from Secret Manager and follows the case to
# its end. It exits with 0 if the case succeeded.
#
#   deploy/gcp/smoke.sh ENV               at START_URL and STATUS_URL
#   deploy/gcp/smoke.sh ENV --candidate   at the new revisions, which have no traffic yet
#
# With SKIP_CANARY=true it starts no case. It still checks that start and status answer.
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
  case $(column INGRESS start)/$(column INGRESS status) in
  all/all) start=${CANDIDATE_URL[start]} status=${CANDIDATE_URL[status]} ;;
  *)
    # The address of a tag is a run.app address, and INGRESS closes those.
    say 'The candidates cannot be reached from outside: INGRESS closes their addresses.'
    note 'The first canary case runs after the promotion.'
    exit 0
    ;;
  esac
  [ -n "$start$status" ] || die 'neither start nor status has a candidate'
  start=${start:-$START_URL} status=${status:-$STATUS_URL}
fi

# call METHOD URL [ARGUMENT …]: prints the status. The answer and its headers are in $WORK/answer
# and $WORK/headers.
call() {
  local method=$1 to=$2
  shift 2
  curl -sS --max-time 90 -X "$method" -D "$WORK/headers" -o "$WORK/answer" -w '%{http_code}' "$@" "$to"
}

say 'start and status answer'
for address in "$start" "$status"; do
  for ((try = 0; ; try++)); do
    code=$(call GET "$address/probe") || code=none
    # The functions answer with JSON. It takes a minute or two until Google lets everybody call a
    # new service.
    ! grep -qiE '^content-type: *application/[a-z.+-]*json' "$WORK/headers" || [[ $code = 5* ]] || break
    [ "$try" -lt 12 ] || die "$address answers $code, and not by the function: $(head -c 300 "$WORK/answer")"
    note "$address answers $code; retrying in $WAIT s"
    sleep "$WAIT"
  done
  note "ok: $address"
done

say 'The private functions reject calls without a token'
for f in $FUNCTIONS; do
  [ "$(column CALLER "$f")" != public ] || continue
  code=$(call POST "$(url "$f")" -H 'Content-Type: application/json' -d '{}') || die "$f cannot be reached"
  case $code in
  401 | 403 | 404) note "ok: $f answers $code" ;; # 404: the ingress hides the function from the internet
  302) # the sign-in of Identity-Aware Proxy
    [ "$CONSOLE_IAP/$f" = true/console ] || die "$f answers 302"
    note "ok: $f asks to sign in"
    ;;
  *) die "$f answers $code to a call without a token, not 401, 403 or 404: everybody may call it" ;;
  esac
done

if [ "$SKIP_CANARY" = true ]; then
  say 'No canary case: SKIP_CANARY is true'
  exit 0
fi

say 'A canary case'
key=$(api_key) ||
  die 'no API key could be read: API_KEYS has only hashes (a canary needs a plain key), or you may not read its secret'
# curl reads the key from a file: other users can see the arguments of a command.
(umask 077 && printf 'header = "X-API-Key: %s"\n' "$key" >"$WORK/key")
form=$CANARY_FORM
[[ $form = /* ]] || form=$GCP/$form
id=canary-$(date -u +%Y%m%dt%H%M%S)-$RANDOM
jq --arg id "$id" '.case_id = $id' "$form" >"$WORK/form" || die "$form is not a form"
code=$(call POST "$start?deadline=${CANARY_DEADLINE}s" --config "$WORK/key" -H 'Content-Type: application/json' \
  --data-binary "@$WORK/form") || die "start cannot be reached at $start"
[ "$code" = 202 ] || die "start answered $code, not 202: $(head -c 500 "$WORK/answer")"
note "started $id"

etag='' progress='' shown='' ended='' state=''
SECONDS=0
while :; do
  # Each call is a long poll. The run ends at its deadline at the latest, and a sweep follows within
  # minutes.
  [ "$SECONDS" -le $((CANARY_DEADLINE + 300)) ] || die "$id has not ended after $SECONDS s: $status/$id"
  code=$(call GET "$status/$id?wait=20s" --config "$WORK/key" -H "If-None-Match: $etag") || code=none
  case $code in
  304) continue ;;
  200) ;;
  429 | 5?? | none)
    note "status answered $code; retrying"
    sleep 2
    continue
    ;;
  *) die "status answered $code: $(head -c 500 "$WORK/answer")" ;;
  esac
  etag=$(tr -d '\r' <"$WORK/headers" | awk 'tolower($1) == "etag:" { $1 = ""; sub(/^ /, ""); print }')
  { read -r state && read -r progress && read -r ended; } < <(jq -r '.state,
    "\(.state) \(.progress.completed) of \(.progress.total)",
    (if .ended_at == null then "" else "after \(.duration_seconds) s, \(.end.reason) by \(.end.source), "
      + "\(.checks.count) checks: \(.end.message // "" | gsub("\n"; " "))" end)' "$WORK/answer")
  [ "$progress" = "$shown" ] || note "$progress"
  shown=$progress
  [ -z "$ended" ] || break
  [ -n "$etag" ] || sleep 2
done
note "ended $state $ended"
[ "$state" = succeeded ] || die "the canary $id did not succeed"
