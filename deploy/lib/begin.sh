# shellcheck shell=bash
# What every deploy script begins with. Sourced, after `set -euo pipefail`.
#
# DRY_RUN=1 prints commands and runs none. JOBS is how many gcloud commands run at once where their order does not matter (4).
# RETRY_SECONDS is the first wait before a command is repeated that failed for a reason that passes (5; it doubles).

DEPLOY=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
ROOT=$(dirname "$DEPLOY")
DRY_RUN=${DRY_RUN:-}
JOBS=${JOBS:-4}
RETRY_SECONDS=${RETRY_SECONDS:-5}
export CLOUDSDK_CORE_DISABLE_PROMPTS=1

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# begin NAME-OR-FILE: makes the work folder, builds the settings command, finds the env file and reads its plan.
begin() {
  local name=$1 tool tools=(go jq)
  [ -n "$DRY_RUN" ] || tools+=(gcloud curl openssl)
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || die "$tool is not installed"
  done
  WORK=$(mktemp -d)
  chmod 700 "$WORK" # secrets may pass through it
  STATE=$WORK/state
  mkdir "$STATE"
  trap 'cleanup' EXIT
  case $name in
  */* | *.env) ENV_FILE=$name ;;
  *) ENV_FILE=$DEPLOY/env/$name.env ;;
  esac
  [ -f "$ENV_FILE" ] || die "there is no $ENV_FILE; there are: $(cd "$DEPLOY/env" && echo ./*.env)"
  ENV_FILE=$(cd "$(dirname "$ENV_FILE")" && pwd)/$(basename "$ENV_FILE")
  (cd "$ROOT" && go build -o "$WORK/settings" ./deploy/settings)
  plan
  # shellcheck disable=SC2034 # every other file uses them
  PROJECT=$(get .project) REGION=$(get .region) PREFIX=$(get .prefix)
}

# cleanup runs last. A script that has more to undo replaces on_exit.
on_exit() { :; }
cleanup() {
  local status=$?
  trap - EXIT
  (on_exit "$status") || status=1 # in a subshell: what fails there must not leave the work folder behind
  rm -rf "$WORK"
  exit "$status"
}

# settings COMMAND ...: asks the settings command, with what is known of the project.
settings() {
  local command=$1
  shift
  local flags=("-deploy=$DEPLOY" "-state=$STATE" "-image=${IMAGE:-}")
  [ -z "$DRY_RUN" ] || flags+=(-example)
  "$WORK/settings" "$command" "${flags[@]}" "$ENV_FILE" "$@"
}

# plan reads the plan again, with what is known by now.
plan() { settings plan >"$WORK/plan.json" || exit 1; }

# get FILTER: values of the plan, one a line.
get() { jq -r "$1" "$WORK/plan.json"; }

# quoted COMMAND ...: the command as a shell would take it, with the paths of the work folder left out.
quoted() {
  local word text=''
  for word in "$@"; do
    word=${word//"$WORK"\//}
    word=${word//"$ROOT"/.}
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+{}*-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    text+="$word "
  done
  printf '%s' "${text% }"
}

# What a command may fail with that passes: grants and accounts take seconds to minutes until every server knows them, and so do APIs.
# Firestore changes one thing of a field at a time, and refuses what comes too soon after another change.
PASSING='operation.* in progress|underlying data changed|cross-transaction contention|too much contention|[Ss]ervice account .* does not exist|actAs.{0,3} denied on service account|Permission denied on secret|SERVICE_DISABLED|has not been used in project|UNAVAILABLE|concurrent policy changes'

# run COMMAND ...: prints the command and runs it. Its output is shown only if it fails for good, and then the script ends.
run() {
  printf '+ %s\n' "$(quoted "$@")"
  [ -n "$DRY_RUN" ] || quietly "$WORK/run" "$@" </dev/null
}

# fed PRODUCER COMMAND ...: as run, with the output of a function as the command's input: for secrets, which never are arguments.
fed() {
  local producer=$1
  shift
  printf '+ %s | %s\n' "$producer" "$(quoted "$@")"
  [ -n "$DRY_RUN" ] && return
  (umask 077 && "$producer" >"$WORK/fed")
  quietly "$WORK/run" "$@" <"$WORK/fed"
  rm -f "$WORK/fed"
}

# quietly LOG COMMAND ...: runs it with its output in LOG.out and LOG.err, again for a while if what is wrong passes.
quietly() {
  local log=$1 try wait=$RETRY_SECONDS
  shift
  for try in 1 2 3 4 5 6; do
    "$@" >"$log.out" 2>"$log.err" && return
    if [ "$try" = 6 ] || ! grep -qE "$PASSING" "$log.err"; then
      break
    fi
    note "again in $wait s: $(tail -n 1 "$log.err" | cut -c 1-200)" >&2
    sleep "$wait"
    wait=$((wait * 2))
  done
  {
    printf '\nThis command failed:\n  %s\n' "$(quoted "$@")"
    sed 's/^/  /' "$log.out" "$log.err"
  } >&2
  exit 1
}

# throttle: waits until fewer than JOBS jobs run.
throttle() {
  while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do
    wait -n || true # whose it was is looked at when all have ended
  done
}
