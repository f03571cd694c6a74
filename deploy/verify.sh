#!/usr/bin/env bash
# Compares what is live with what the env file says should be: environments, secrets, accounts, resources, traffic, who may call (IAM and IAP) and do what,
# queues, topics, subscriptions, TTL and indexes, the job, metrics, alerts. It changes nothing, prints every difference on a line, and exits with 1 if
# there is one.
#
#   deploy/verify.sh ENV
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib/begin.sh"
. "$DEPLOY/lib/live.sh"

[ "$#" = 1 ] || die 'usage: verify.sh ENV'
begin "$1"
read_project
read_live
settings diff >"$WORK/diff.tsv"
awk -F '\t' '{ printf "%s %s: %s%s, should be %s\n", $2, $3, $4 == "-" ? "" : $4 " is ", $5, $6 }' "$WORK/diff.tsv"
count=$(wc -l <"$WORK/diff.tsv")
if [ "$count" != 0 ]; then
  echo "$((count)) differences between $PROJECT and $ENV_FILE" >&2
  exit 1
fi
get '.omitted[] | "without \(.name): \(.why)"'
echo "$PROJECT is as $(basename "$ENV_FILE") says: $(get '.services | length') functions, $(get '.queues | length') queues, $(get '.policies | length') policies, $(get '.alerts | length') alerts"
