# shellcheck shell=bash
# How a canary reaches what is live. Sourced, after read_services.

TAG=${TAG:-}

# url FUNCTION: where the function answers, as Cloud Run reports it.
url() {
  local found
  if [ -n "$TAG" ]; then
    found=$(live_service "$PREFIX-$1" "[.status.traffic[]? | select(.tag == \"$TAG\")] | .[0].url")
  fi
  [ -n "${found:-}" ] || found=$(live_service "$PREFIX-$1" .status.url)
  [ -n "$found" ] || die "there is no $PREFIX-$1 in $PROJECT, $REGION"
  printf %s "${found%/}"
}

# api_key: the first plain key of those that start was deployed with. It goes on in a file: arguments can be seen by others.
api_key() {
  local secret version
  secret=$(live_service "$PREFIX-start" '.spec.template.spec.containers[0].env[] | select(.name == "API_KEYS").valueFrom.secretKeyRef.name')
  version=$(live_service "$PREFIX-start" '.spec.template.spec.containers[0].env[] | select(.name == "API_KEYS").valueFrom.secretKeyRef.key')
  [ -n "$secret" ] || die "$PREFIX-start has no API_KEYS"
  gcloud secrets versions access "$version" --secret="$secret" --project="$PROJECT" | tr ',' '\n' | sed 's/^ *//; s/ *$//' | grep -v '^sha256:' | head -n 1
}

# live_setting NAME: the value that start was deployed with; nothing if it was not given one.
live_setting() { live_service "$PREFIX-start" ".spec.template.spec.containers[0].env[]? | select(.name == \"$1\").value"; }
