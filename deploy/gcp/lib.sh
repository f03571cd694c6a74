# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the other files use what is set here; read_env sets the names of an env file
# What all scripts of this folder share: how a command is printed, run and repeated, and how an env file is read.
#
# DRY_RUN=1 prints every command and runs none. A line begins with + for a command that changes something, with ? for one
# that only reads. What only a live project knows is then shown as {NAME}.
# A command that fails for a reason that passes is repeated every WAIT seconds for PATIENCE seconds.

GCP=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$GCP/../.." && pwd)
DRY_RUN=${DRY_RUN:-} WAIT=${WAIT:-15} PATIENCE=${PATIENCE:-480}
MINIMUM=528 # of gcloud: the version that the commands were checked with
export CLOUDSDK_CORE_DISABLE_PROMPTS=1

# Google says that rights take "typically 2 minutes, potentially 7 minutes or longer" to be known everywhere
# (https://cloud.google.com/iam/docs/access-change-propagation). New accounts and APIs are as slow.
PASSES='PERMISSION_DENIED|permission .*denied|[Pp]ermission to read the image|does not have (permission|storage\.objects)|storage\.objects\.get|actAs'
PASSES+='|[Ss]ervice account .* does not exist|SERVICE_DISABLED|has not been used in project|UNAVAILABLE|concurrent policy changes'
PASSES+='|operation.* in progress|underlying data changed|too much contention|not ready yet'
MISSING='NOT_FOUND|not found|could not be found|cannot find|does not exist|may not exist|404'

say() { printf '\n== %s\n' "$*"; }
note() { printf '   %s\n' "$*"; }
die() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# options 'FLAG …' ARGUMENT …: sets NAME to the environment, which is the one argument that is no flag, and for each FLAG
# its variable (DRY_RUN for --dry-run): to 1 if it is among the arguments, else to ''. Other arguments end the script.
options() {
  local flags flag variable argument usage
  read -ra flags <<<"$1"
  usage="usage: $(basename "$0") ENV$(printf ' [%s]' "${flags[@]}")"
  shift
  NAME=
  for argument in "$@"; do
    [[ " ${flags[*]} " != *" $argument "* ]] || continue
    [[ -z $NAME && $argument != -* ]] || die "$usage"
    NAME=$argument
  done
  [ -n "$NAME" ] || die "$usage"
  for flag in "${flags[@]}"; do
    variable=${flag#--} variable=${variable//-/_}
    printf -v "${variable^^}" %s "$([[ " $* " != *" $flag "* ]] || echo 1)"
  done
}

# show SIGN COMMAND …: prints the command as a shell takes it. Files of the work folder are shown without their folder.
show() {
  local word text=$1
  shift
  for word in "$@"; do
    word=${word//"$WORK"\//}
    word=${word//"$ROOT"/.}
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+{}-]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    text+=" $word"
  done
  printf '%s\n' "$text"
}

# run COMMAND …: prints the command and runs it. If it fails for good, the script ends.
run() { feed '' "$@"; }

# feed TEXT COMMAND …: run, with TEXT as its input: for secrets, which are never arguments.
feed() {
  local text=$1
  shift
  show + "$@"
  [ -n "$DRY_RUN" ] || again "$text" "$@" || failed "$@"
}

# ask NAME COMMAND …: sets the variable NAME to what the command prints; in a dry run to {NAME}.
ask() {
  local name=$1
  shift
  if [ -n "$DRY_RUN" ]; then
    show '?' "$@"
    printf -v "$name" '{%s}' "$name"
    return
  fi
  again '' "$@" || failed "$@"
  printf -v "$name" %s "$(<"$WORK/out")"
}

# exists COMMAND …: whether a describe command finds its resource. In a dry run it never does. Failing otherwise than with
# "not found" ends the script: a resource that cannot be seen must not be made again.
exists() {
  if [ -n "$DRY_RUN" ]; then
    show '?' "$@"
    return 1
  fi
  STOP=$MISSING again '' "$@" && return
  grep -qiE "$MISSING" "$WORK/err" || failed "$@"
  return 1
}

# again TEXT COMMAND …: runs it with its output in $WORK/out and $WORK/err, and repeats it while what is wrong may pass.
# An error that matches STOP is not waited for.
again() {
  local text=$1 end=$((SECONDS + PATIENCE))
  shift
  until if [ -n "$text" ]; then printf %s "$text" | "$@"; else "$@" </dev/null; fi >"$WORK/out" 2>"$WORK/err"; do
    [ "$SECONDS" -lt "$end" ] && cat "$WORK/out" "$WORK/err" | grep -qE "$PASSES" || return 1
    [ -z "${STOP:-}" ] || ! grep -qiE "$STOP" "$WORK/err" || return 1
    note "again in $WAIT s, for at most 8 minutes, since a right, an account or an API may not be known yet: $(tail -n 1 "$WORK/err" | cut -c 1-160)"
    sleep "$WAIT"
  done
}

failed() {
  {
    printf '\nThis command failed:\n'
    show ' ' "$@"
    sed 's/^/  /' "$WORK/out" "$WORK/err"
  } >&2
  exit 1
}

# fill FILE: the file with ${NAME} replaced by the variable NAME, without comments and lines whose variable is empty.
fill() {
  local line name
  while IFS= read -r line; do
    [[ ! $line =~ ^\ *# ]] || continue
    while [[ $line =~ \$\{([A-Z_]+)\} ]]; do
      name=${BASH_REMATCH[1]}
      [ -n "${!name}" ] || continue 2
      line=${line//"\${$name}"/"${!name}"}
    done
    printf '%s\n' "$line"
  done <"$1"
}

on_exit() { :; } # a script that has something to undo replaces it
cleanup() {
  local status=$?
  trap - EXIT
  (on_exit "$status") || status=1
  rm -rf "$WORK"
  exit "$status"
}

# begin NAME-OR-FILE: checks the tools and the env file, and sets a variable for each value: PROJECT, REGION, PREFIX,
# MEMORY_STATUS and so on (settings/plan.go), NUMBER and ORGANIZATION. What is wrong with the file is named at once.
begin() {
  local tool version tools=(go jq)
  [ -n "$DRY_RUN" ] || tools+=(gcloud curl openssl)
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || die "$tool is not installed"
  done
  WORK=$(mktemp -d)
  trap cleanup EXIT
  case $1 in
  */* | *.env) ENV_FILE=$1 ;;
  *) ENV_FILE=$GCP/env/$1.env ;;
  esac
  [ -f "$ENV_FILE" ] || die "there is no $ENV_FILE; there are: $(cd "$GCP/env" && echo ./*.env)"
  if [ ! -x "${SETTINGS:-}" ]; then
    export SETTINGS=$WORK/settings # a script that calls another one has built it already
    (cd "$ROOT" && go build -o "$SETTINGS" ./deploy/gcp/settings)
  fi
  NUMBER='{PROJECT_NUMBER}' ORGANIZATION=
  read_env ${DRY_RUN:+-example}
  if [ -z "$DRY_RUN" ]; then
    ask version gcloud version --format='value("Google Cloud SDK")'
    [ "${version%%.*}" -ge "$MINIMUM" ] || die "gcloud is $version; these scripts need $MINIMUM: gcloud components update"
    ask NUMBER gcloud projects describe "$PROJECT" --format='value(projectNumber)'
    ask ORGANIZATION gcloud projects describe "$PROJECT" --format='value(parent.type)'
    read_env ${ORGANIZATION:+-organization}
  fi
}

# read_env [FLAG]: sets the variables. The values are data: nothing in them is expanded.
read_env() {
  local name value
  "$SETTINGS" read -gcp="$GCP" "$@" "$ENV_FILE" "$WORK" || exit 1
  while IFS='=' read -r name value; do
    printf -v "$name" %s "${value//'{PROJECT_NUMBER}'/"$NUMBER"}"
  done <"$WORK/values"
}

# of KEY FUNCTION: a column of functions.txt, with what the env file overrides.
of() {
  local name=$1_${2^^}
  printf %s "${!name}"
}

account() { printf '%s-%s@%s.iam.gserviceaccount.com' "$PREFIX" "$1" "$PROJECT"; }
url() { printf 'https://%s-%s-%s.%s.run.app' "$PREFIX" "$1" "$NUMBER" "$REGION"; }
