#!/usr/bin/env bash
# Deploys Casewatch to the project that an env file names: what is missing is created, what differs is updated, and nothing else is touched.
# New revisions get no traffic until all of them are ready and a canary case that starts at the new ones has succeeded. If another one then does not
# succeed, traffic goes back by itself. A deployment that was broken off goes on where it was.
#
#   deploy/deploy.sh ENV             ENV names deploy/env/ENV.env, or is the path of such a file
#   deploy/deploy.sh ENV --dry-run   prints every command, with placeholders for what only a live project knows, and calls nothing
#
# Needs bash 4.3, gcloud (with its alpha and beta components), jq, curl, go and openssl, and an account that owns the project.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib/begin.sh"
. "$DEPLOY/lib/live.sh"
. "$DEPLOY/lib/foundation.sh"
. "$DEPLOY/lib/services.sh"
. "$DEPLOY/lib/triggers.sh"

ENV=
for arg in "$@"; do
  case $arg in
  --dry-run) DRY_RUN=1 ;;
  -*) die "there is no $arg; usage: deploy.sh ENV [--dry-run]" ;;
  *)
    [ -z "$ENV" ] || die 'usage: deploy.sh ENV [--dry-run]'
    ENV=$arg
    ;;
  esac
done
[ -n "$ENV" ] || die 'usage: deploy.sh ENV [--dry-run]'

# Whatever ends the script between the promotion and the canary's success sends traffic back.
on_exit() {
  [ "$1" = 0 ] || traffic_back
}

begin "$ENV"
say "Casewatch as $PREFIX in $PROJECT, $REGION"
if [ -z "$DRY_RUN" ]; then
  read_project
  given_secrets
fi
compare
ensure_apis
if [ -z "$DRY_RUN" ]; then
  get '[.apis[] | {name: "x/\(.)"}]' >"$STATE/apis.json"
  read_live
  compare
fi
ensure_repository
ensure_accounts
ensure_secrets
ensure_store
ensure_topics
ensure_queues
say 'Who may do what'
ensure_policies project account secret topic queue
if [ -z "$DRY_RUN" ]; then
  while read -r name; do read_versions "$name"; done < <(get '.secrets[] | select(.version | startswith("{")).name')
  all_read
fi
build_image
wait_for_indexes
compare
deploy_services
say 'Who may call'
ensure_policies service iap
ensure_subscriptions
ensure_policies subscription
ensure_job
ensure_monitoring
probe_candidates
if candidates; then
  say 'Canary, by the candidates of start and status'
  run "$DEPLOY/smoke.sh" "$ENV_FILE" --tag candidate
fi
promote
if [ -n "$DRY_RUN" ]; then
  say 'Canary'
  note "$(quoted "$DEPLOY/smoke.sh" "$ENV")"
  exit 0
fi
say 'Canary'
"$DEPLOY/smoke.sh" "$ENV_FILE" || die 'the canary did not succeed'
BEFORE=()
awk -F '\t' '$1 == "look" && $2 ~ /^(queue|job|alert|channel|database|subscription|sql-instance)$/ || $1 == "look" && $4 == "deployed" { printf "   left as it is: %s %s: %s is %s, not %s\n", $2, $3, $4, $5, $6 }' "$WORK/diff.tsv"
say "Done: $(get '.services[] | select(.function == "start").url')"
get '.services[] | select(.function == "console") | if .iap then "   console: \(.url)" else "   console: gcloud run services proxy \(.name)" end' |
  sed "s/proxy .*/& --region=$REGION --project=$PROJECT/"
