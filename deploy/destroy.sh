#!/usr/bin/env bash
# Takes an environment down: functions, job, subscriptions, queues with their tasks, alerts, metrics, dashboard, accounts. Data stays: the store, the secrets, the
# topics, and the subscription with the dead letters; and so do the images and the enabled APIs.
#
#   deploy/destroy.sh ENV            asks for the project's id
#   deploy/destroy.sh ENV --data     the data too, for ever: store, secrets, topics, dead letters, images
#   deploy/destroy.sh ENV --yes      does not ask
set -euo pipefail
# shellcheck source-path=SCRIPTDIR
. "$(dirname "${BASH_SOURCE[0]}")/lib/begin.sh"
. "$DEPLOY/lib/live.sh"

ENV='' DATA='' YES=''
for arg in "$@"; do
  case $arg in
  --data) DATA=1 ;;
  --yes) YES=1 ;;
  --dry-run) die 'without --yes it asks before it does anything, and says what it will do' ;;
  -*) die "there is no $arg" ;;
  *) ENV=$arg ;;
  esac
done
[ -n "$ENV" ] || die 'usage: destroy.sh ENV [--data] [--yes]'
begin "$ENV"
read_project
read_live

# Commands, a line each, in the order in which they are run; what calls goes before what is called.
declare -a names=() commands=()
delete() { # LIST NAME COMMAND ...
  if exists "$1" "$2"; then
    case $1 in
    repositories) names+=("images $2") ;;
    *) names+=("${1%s} $2") ;;
    esac
    shift 2
    commands+=("$(quoted "$@" --project="$PROJECT")")
  fi
}
delete jobs "$(get .job.name)" gcloud scheduler jobs delete "$(get .job.name)" --location="$REGION"
while read -r name endpoint; do
  [ -z "$endpoint$DATA" ] || delete subscriptions "$name" gcloud pubsub subscriptions delete "$name"
done < <(get '.subscriptions | reverse | .[] | "\(.name) \(.endpoint // "")"')
while read -r name; do
  delete services "$name" gcloud run services delete "$name" --region="$REGION"
done < <(get '(.services | reverse | .[].name), .omitted[].name')
while read -r name; do
  delete queues "$name" gcloud tasks queues delete "$name" --location="$REGION"
done < <(get '.queues[].name')
# What carries the environment's label, whether the tree still has its file or not.
while IFS=$'\t' read -r list name; do
  names+=("$list $name")
  case $list in
  alert) commands+=("$(quoted gcloud alpha monitoring policies delete "$name" --project="$PROJECT")") ;;
  dashboard) commands+=("$(quoted gcloud monitoring dashboards delete "$name" --project="$PROJECT")") ;;
  channel) commands+=("$(quoted gcloud beta monitoring channels delete "$name" --force --project="$PROJECT")") ;;
  esac
done < <(for list in alerts dashboards channels; do
  [ ! -f "$STATE/$list.json" ] || jq -r --arg prefix "$PREFIX" --arg list "${list%s}" '.[] | select((.userLabels.casewatch // .labels.casewatch) == $prefix) | [$list, .name] | join("\t")' "$STATE/$list.json"
done)
while read -r name; do
  delete metrics "$name" gcloud logging metrics delete "$name"
done < <(get '.metrics[].name')
while IFS=$'\t' read -r role member condition; do
  names+=("grant of $role to $member")
  commands+=("$(quoted gcloud projects remove-iam-policy-binding "$PROJECT" --member="$member" --role="$role" --condition="$condition")")
done < <(jq -r --slurpfile plan "$WORK/plan.json" '
  [$plan[0].policies[] | select(.kind == "project").bindings[] | . as $b | .members[] | {role: $b.role, member: ., condition: $b.condition.expression}] as $ours
  | .bindings[]? | . as $b | .members[] | {role: $b.role, member: ., condition: $b.condition.expression} as $is
  | select(any($ours[]; . == $is) or any($plan[0].omitted[]; "serviceAccount:\(.account)" == $is.member))
  | [$is.role, $is.member, (if $b.condition then "expression=\($b.condition.expression),title=\($b.condition.title)" else "None" end)] | join("\t")' "$STATE/policy-project-$PROJECT.json")
while read -r email; do
  delete accounts "$email" gcloud iam service-accounts delete "$email"
done < <(get '.accounts[].email, .omitted[].account')
if [ -n "$DATA" ]; then
  while read -r name; do
    delete topics "$name" gcloud pubsub topics delete "$name"
  done < <(get '.topics[]')
  while read -r name; do
    delete secrets "$name" gcloud secrets delete "$name"
  done < <(get '.secrets[].name')
  database=$(get '.firestore.database // empty') instance=$(get '.cloud_sql.instance // empty')
  if [ -n "$database" ] && exists databases "$database"; then
    names+=("Firestore database $database, with every case")
    commands+=("$(quoted gcloud firestore databases update --database="$database" --no-delete-protection --project="$PROJECT")"
      "$(quoted gcloud firestore databases delete --database="$database" --project="$PROJECT")")
  fi
  if [ -n "$instance" ] && exists sql-instances "$instance"; then
    names+=("Cloud SQL instance $instance, with every case and backup")
    commands+=("$(quoted gcloud sql instances patch "$instance" --no-deletion-protection --project="$PROJECT")"
      "$(quoted gcloud sql instances delete "$instance" --project="$PROJECT")")
  fi
  delete repositories "$PREFIX" gcloud artifacts repositories delete "$PREFIX" --location="$REGION"
fi

if [ "${#commands[@]}" = 0 ]; then
  echo "There is nothing of $PREFIX in $PROJECT to take down."
  exit 0
fi
say "To be deleted from $PROJECT, for ever:"
printf '   %s\n' "${names[@]}"
[ -n "$DATA" ] || note '(not the store, secrets, topics and dead letters: --data)'
note '(Events that the pipeline has published and complete has not taken yet go with the subscription. The names of the queues cannot be used again for days.)'
if [ -z "$YES" ]; then
  printf '\nType the id of the project to go on: '
  read -r answer || answer=
  [ "$answer" = "$PROJECT" ] || die 'nothing was deleted'
fi
for command in "${commands[@]}"; do
  eval "run $command" # quoted above
done
say "Done. (Cloud Tasks gives the name of a deleted queue out again only after some days: until then, deploy under another PREFIX.)"
