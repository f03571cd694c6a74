# shellcheck shell=bash
# shellcheck disable=SC2034,SC2153,SC2154 # names that service.yaml and build.yaml use; set by read_env
# A release: one image, a revision of it for each function, and the revisions that get the traffic.

BUILDER_IMAGE=gcr.io/buildpacks/builder:latest # Google's builder; no other file names it
REPOSITORY=$REGION-docker.pkg.dev/$PROJECT/$PREFIX/casewatch
BUCKET=$PROJECT-$PREFIX-source
declare -A VERSION=() # the version of each secret that new revisions get

# build_image builds the image, unless there is one already, and sets IMAGE to its address by
# digest. The tag names the source, the builder and the store. The same three are built once; a
# newer builder, with its security updates, leads to a new image.
build_image() {
  local digest source built=
  say 'Image'
  ask digest gcloud container images describe "$BUILDER_IMAGE" --format='value(image_summary.digest)'
  BUILDER=${BUILDER_IMAGE%:*}@$digest
  source='{SOURCE}'
  if [ -z "$DRY_RUN" ]; then
    source=$(cd "$ROOT" && gcloud meta list-files-for-upload | LC_ALL=C sort | xargs -d '\n' sha256sum |
      sha256sum | cut -c 1-12)
  fi
  digest=${digest#sha256:}
  TAGGED=$REPOSITORY:$source-${digest:0:12}-$STORE_DRIVER
  if [ -z "$REBUILD" ] && exists gcloud artifacts docker images describe "$TAGGED" --project="$PROJECT"; then
    note "ok: $TAGGED"
    built=1
  fi
  if [ -z "$built" ]; then
    fill "$GCP/build.yaml" >"$WORK/build.yaml"
    run gcloud builds submit "$ROOT" --config="$WORK/build.yaml" --region="$REGION" \
      --gcs-source-staging-dir="gs://$BUCKET/source" \
      --service-account="projects/$PROJECT/serviceAccounts/$(account build)" --timeout=30m --project="$PROJECT"
  fi
  ask IMAGE gcloud artifacts docker images describe "$TAGGED" --project="$PROJECT" \
    --format='value(image_summary.digest)'
  IMAGE=$REPOSITORY@$IMAGE
}

# read_versions sets VERSION to the newest enabled version of each secret. A revision names the
# version, so that its secrets never change.
read_versions() {
  local name version
  for name in $SECRETS; do
    if [ -n "$DRY_RUN" ]; then version="{VERSION_OF_$PREFIX-$name}"; else
      ask version gcloud secrets versions list "$PREFIX-$name" --filter=state=enabled --sort-by=~createTime --limit=1 \
        --project="$PROJECT" --format='value(name.basename())'
    fi
    VERSION[$name]=$version
  done
}

# The live services, by function: the revision with all of the traffic, the newest one, the newest
# one that is ready, the revisions with the tags "candidate" and "previous", and the release,
# attempt and image of the service. A function that is not deployed has no entries.
declare -A SERVING=() NEWEST=() READY=() CANDIDATE=() CANDIDATE_URL=() PREVIOUS=()
declare -A LIVE_RELEASE=() LIVE_ATTEMPT=() LIVE_IMAGE=()
KEY_VERSION='' # the version of the secret of API keys that start was deployed with

read_services() {
  local name serving newest ready candidate url previous release attempt image key f
  ask LIVE gcloud run services list --region="$REGION" --filter="metadata.labels.casewatch=$PREFIX" \
    --project="$PROJECT" --format=json
  [ -z "$DRY_RUN" ] || return 0
  while IFS='|' read -r name serving newest ready candidate url previous release attempt image key; do
    f=${name#"$PREFIX-"}
    SERVING[$f]=$serving NEWEST[$f]=$newest READY[$f]=$ready CANDIDATE[$f]=$candidate CANDIDATE_URL[$f]=$url
    PREVIOUS[$f]=$previous LIVE_RELEASE[$f]=$release LIVE_ATTEMPT[$f]=$attempt LIVE_IMAGE[$f]=$image
    [ "$f" != start ] || KEY_VERSION=$key
  done < <(jq -r '.[]
    | (.status.traffic // []) as $traffic
    | .spec.template.metadata.labels as $labels
    | .spec.template.spec.containers[0] as $container
    | def tag($tag): first($traffic[] | select(.tag == $tag)) // {};
      [.metadata.name,
       (first($traffic[] | select(.percent == 100).revisionName) // ""),
       .status.latestCreatedRevisionName, .status.latestReadyRevisionName,
       tag("candidate").revisionName, tag("candidate").url, tag("previous").revisionName,
       $labels["casewatch-release"], $labels["casewatch-attempt"], $container.image,
       (first($container.env[]? | select(.name == "API_KEYS").valueFrom.secretKeyRef.key) // "")]
    | map(. // "") | join("|")' <<<"$LIVE")
}

# api_key prints the first API key of start that is not a hash. It fails if there is none.
api_key() {
  [ -n "$KEY_VERSION" ] || return 1
  gcloud secrets versions access "$KEY_VERSION" --secret="$PREFIX-api-keys" --project="$PROJECT" |
    tr ',' '\n' | sed 's/^ *//; s/ *$//' | grep -v '^sha256:' | head -n 1
}

# service FUNCTION: writes the service.yaml of a function to $WORK, with RELEASE, ATTEMPT and
# TRAFFIC unless they are empty.
service() {
  local key name
  FUNCTION=$1 OPEN=false IAP=
  for key in MEMORY CPU CONCURRENCY TIMEOUT MIN_INSTANCES MAX_INSTANCES INGRESS; do
    name=${key}_${1^^}
    printf -v "$key" %s "${!name}"
  done
  if [ "$(column CALLER "$1")/$PUBLIC_ACCESS" = public/no-iam-check ]; then OPEN=true; fi
  case $1/$CONSOLE_IAP in
  console/true) IAP=true ;;
  console/*) OPEN=true ;; # it verifies ID tokens itself
  esac
  ENV=$(<"$WORK/$1.env")
  ENV=${ENV//'{PROJECT_NUMBER}'/"$NUMBER"}
  for name in $SECRETS; do
    ENV=${ENV//"{VERSION_OF_$PREFIX-$name}"/"${VERSION[$name]}"}
  done
  fill "$GCP/service.yaml" >"$WORK/$PREFIX-$1.yaml"
}

# deploy_services makes a revision of every function. A service that exists keeps its traffic where
# it is. Its new revision gets no traffic, but has an address of its own, from the tag "candidate".
# The tag "previous" does not move. If nothing changed, no revision is made.
deploy_services() {
  local f before previous
  say 'Functions'
  read_versions
  RELEASE='' ATTEMPT='' TRAFFIC=''
  for f in $FUNCTIONS; do service "$f"; done
  RELEASE=$(cat "$WORK/$PREFIX"-*.yaml | sha256sum | cut -c 1-12)
  [ -z "$DRY_RUN" ] || RELEASE='{RELEASE}'
  read_services
  for f in $FUNCTIONS; do
    ATTEMPT=0 before=${SERVING[$f]:-} previous=${PREVIOUS[$f]:-}
    if [ "${LIVE_RELEASE[$f]:-}" = "$RELEASE" ]; then
      ATTEMPT=${LIVE_ATTEMPT[$f]:-0}
      # A revision that failed to start never starts. The next try needs another revision.
      [ "${NEWEST[$f]}" = "${READY[$f]}" ] || ATTEMPT=$((ATTEMPT + 1))
    fi
    TRAFFIC='  - {latestRevision: true, percent: 100}'
    if [ -n "$before" ]; then
      TRAFFIC="  - {revisionName: $before, percent: 100}"$'\n''  - {latestRevision: true, tag: candidate}'
      [ -z "$previous" ] || TRAFFIC+=$'\n'"  - {revisionName: $previous, tag: previous}"
    fi
    service "$f"
    if [ -n "$IAP" ]; then
      run gcloud beta run services replace "$WORK/$PREFIX-$f.yaml" --region="$REGION" --project="$PROJECT"
    else
      run gcloud run services replace "$WORK/$PREFIX-$f.yaml" --region="$REGION" --project="$PROJECT"
    fi
    [ -z "$DRY_RUN" ] || sed 's/^/     /' "$WORK/$PREFIX-$f.yaml"
  done
  read_services
}

# What restore_traffic needs to undo the promotion: "FUNCTION REVISION TAGGED" for each function,
# where TAGGED is the revision that had the tag "previous" before, if any.
PROMOTED=()

# promote sends all traffic to the new revisions, in the order of functions.txt. The tag "previous"
# then names the revision that served before. rollback.sh needs nothing else.
promote() {
  local f new before tagged tags unfinished=
  say 'Traffic goes to the new revisions'
  for f in $FUNCTIONS; do
    [ "${READY[$f]:-}" = "${SERVING[$f]:-}" ] || unfinished=1
  done
  for f in $FUNCTIONS; do
    new=${READY[$f]:-} before=${SERVING[$f]:-} tagged=${PREVIOUS[$f]:-} tags=()
    [ -z "$DRY_RUN" ] || new="{NEW_REVISION_OF_$f}" before="{OLD_REVISION_OF_$f}"
    if [ "$new" != "$before" ]; then
      PROMOTED=("$f $before $tagged" "${PROMOTED[@]}")
      tags=(--update-tags="previous=$before")
    elif [ -n "$unfinished" ] && [ -n "$tagged" ]; then
      # An earlier run was killed after it promoted this function and before it promoted the next.
      PROMOTED=("$f $tagged $tagged" "${PROMOTED[@]}")
    fi
    if [ "$new" = "$before" ] && [ -z "${CANDIDATE[$f]}" ]; then
      note "ok: $f serves $new"
      continue
    fi
    run gcloud run services update-traffic "$PREFIX-$f" --to-revisions="$new=100" "${tags[@]}" \
      --remove-tags=candidate --region="$REGION" --project="$PROJECT"
  done
}

# restore_traffic 'FUNCTION REVISION TAGGED' …: sends all traffic of each function to a revision,
# and sets the tag "previous" to TAGGED, or removes it. It goes on after a failure, and then fails.
restore_traffic() {
  local f revision tagged tag failed=0
  while read -r f revision tagged; do
    tag=--remove-tags=previous
    [ -z "$tagged" ] || tag=--update-tags=previous=$tagged
    (run gcloud run services update-traffic "$PREFIX-$f" --to-revisions="$revision=100" "$tag" \
      --region="$REGION" --project="$PROJECT") || failed=1
  done < <(printf '%s\n' "$@")
  return "$failed"
}
