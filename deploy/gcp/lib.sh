# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # the other files use what is set here; read_env sets the names of an env file
# What all scripts of this folder share: printing, running and repeating a command, and reading an
# env file.
#
# With DRY_RUN=1 a script prints every command and runs none. A line begins with + for a command
# that changes something, and with ? for one that only reads. A value that only a live project knows
# is printed as {NAME}.
#
# A command that fails with a transient error is repeated every WAIT seconds, for at most PATIENCE
# seconds.

GCP=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ROOT=$(cd "$GCP/../.." && pwd)
DRY_RUN=${DRY_RUN:-} WAIT=${WAIT:-15} PATIENCE=${PATIENCE:-480}
MINIMUM=528 # the version of gcloud with which the commands were checked
export CLOUDSDK_CORE_DISABLE_PROMPTS=1

# TRANSIENT matches the errors that pass by themselves. Google says that a change of rights takes
# "typically 2 minutes, potentially 7 minutes or longer"
# (https://cloud.google.com/iam/docs/access-change-propagation). New accounts and APIs take as long.
TRANSIENT='PERMISSION_DENIED|permission .*denied|[Pp]ermission to read the image'
TRANSIENT+='|does not have (permission|storage\.objects)|storage\.objects\.get|actAs'
TRANSIENT+='|[Ss]ervice account .* does not exist|SERVICE_DISABLED|has not been used in project|UNAVAILABLE'
TRANSIENT+='|concurrent policy changes|operation.* in progress|underlying data changed|too much contention'
TRANSIENT+='|not ready yet'
# MISSING matches the errors that say that a resource does not exist.
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

# show SIGN COMMAND …: prints a command as a shell reads it. Paths are shortened: files of the work
# folder have no folder, and those of the repository begin with a dot.
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

# run COMMAND …: prints a command and runs it. The script ends if the command fails.
run() { run_with_input '' "$@"; }

# run_with_input TEXT COMMAND …: like run, with TEXT as the input of the command. Secrets are passed
# this way: other users can see the arguments of a command.
run_with_input() {
  local text=$1
  shift
  show + "$@"
  [ -n "$DRY_RUN" ] || attempt "$text" "$@" || fail "$@"
}

# ask NAME COMMAND …: sets the variable NAME to the output of a command; in a dry run, to {NAME}.
# The script ends if the command fails.
ask() {
  local name=$1
  shift
  if [ -n "$DRY_RUN" ]; then
    show '?' "$@"
    printf -v "$name" '{%s}' "$name"
    return
  fi
  attempt '' "$@" || fail "$@"
  printf -v "$name" %s "$(<"$WORK/out")"
}

# exists COMMAND …: succeeds if a describe command finds its resource; never in a dry run. The
# script ends if the command fails for another reason than a missing resource. Some errors say that
# a right is missing "or it may not exist": then it counts as missing, and to create it fails if it
# does exist.
exists() {
  if [ -n "$DRY_RUN" ]; then
    show '?' "$@"
    return 1
  fi
  STOP=$MISSING attempt '' "$@" && return
  grep -qiE "$MISSING" "$WORK/err" || fail "$@"
  return 1
}

# attempt TEXT COMMAND …: runs a command with TEXT as its input, and repeats it after a transient
# error that does not match STOP. The output is in $WORK/out and $WORK/err.
attempt() {
  local text=$1 end=$((SECONDS + PATIENCE))
  shift
  until if [ -n "$text" ]; then printf %s "$text" | "$@"; else "$@" </dev/null; fi >"$WORK/out" 2>"$WORK/err"; do
    [ "$SECONDS" -lt "$end" ] && cat "$WORK/out" "$WORK/err" | grep -qE "$TRANSIENT" || return 1
    [ -z "${STOP:-}" ] || ! grep -qiE "$STOP" "$WORK/err" || return 1
    note "retrying every $WAIT s, for at most 8 minutes: $(tail -n 1 "$WORK/err" | cut -c 1-160)"
    sleep "$WAIT"
  done
}

# fail COMMAND …: prints a command that failed, with its output, and ends the script.
fail() {
  {
    printf '\nThis command failed:\n'
    show ' ' "$@"
    sed 's/^/  /' "$WORK/out" "$WORK/err"
  } >&2
  exit 1
}

# fill FILE: prints a file with each ${NAME} replaced by the variable NAME. Comments, and lines with
# an empty variable, are left out.
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

# on_exit STATUS: runs before a script ends. A script that has something to undo defines its own.
on_exit() { :; }
cleanup() {
  local status=$?
  trap - EXIT
  exec >&3 2>&4 # a signal may come while the output of a command goes to a file
  (on_exit "$status") || status=1
  rm -rf "$WORK"
  exit "$status"
}

# begin NAME-OR-FILE: checks the installed tools and an env file, and sets the variables that the
# scripts use: NUMBER, ORGANIZATION, and those of settings/plan.go, such as PROJECT, REGION, PREFIX
# and MEMORY_STATUS. All problems of the file are printed together.
begin() {
  local tool version tools=(go jq)
  [ -n "$DRY_RUN" ] || tools+=(gcloud curl openssl)
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || die "$tool is not installed"
  done
  WORK=$(mktemp -d)
  exec 3>&1 4>&2
  trap cleanup EXIT
  # Without these the status that cleanup sees is that of the last command, which may be 0.
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  case $1 in
  */* | *.env) ENV_FILE=$1 ;;
  *) ENV_FILE=$GCP/env/$1.env ;;
  esac
  [ -f "$ENV_FILE" ] || die "there is no $ENV_FILE; the environments are: $(cd "$GCP/env" && echo ./*.env)"
  if [ ! -x "${SETTINGS:-}" ]; then # a script that was called by another one uses the program that it built
    export SETTINGS=$WORK/settings
    (cd "$ROOT" && go build -o "$SETTINGS" ./deploy/gcp/settings)
  fi
  NUMBER='{PROJECT_NUMBER}' ORGANIZATION=
  read_env ${DRY_RUN:+-example}
  if [ -z "$DRY_RUN" ]; then
    ask version gcloud version --format='value("Google Cloud SDK")'
    [ "${version%%.*}" -ge "$MINIMUM" ] ||
      die "gcloud is $version; these scripts need $MINIMUM or newer: gcloud components update"
    ask NUMBER gcloud projects describe "$PROJECT" --format='value(projectNumber)'
    ask ORGANIZATION gcloud projects describe "$PROJECT" --format='value(parent.type)'
    read_env ${ORGANIZATION:+-organization}
  fi
}

# read_env [FLAG]: sets the variables of the env file. The shell expands nothing in their values.
read_env() {
  local name value
  "$SETTINGS" read -gcp="$GCP" "$@" "$ENV_FILE" "$WORK" || exit 1
  while IFS='=' read -r name value; do
    printf -v "$name" %s "${value//'{PROJECT_NUMBER}'/"$NUMBER"}"
  done <"$WORK/values"
}

# column KEY FUNCTION: the value of a function in functions.txt, or what the env file sets instead.
column() {
  local name=$1_${2^^}
  printf %s "${!name}"
}

# account NAME: the e-mail address of a service account. url FUNCTION: the run.app address of a
# function.
account() { printf '%s-%s@%s.iam.gserviceaccount.com' "$PREFIX" "$1" "$PROJECT"; }
url() { printf 'https://%s-%s-%s.%s.run.app' "$PREFIX" "$1" "$NUMBER" "$REGION"; }
