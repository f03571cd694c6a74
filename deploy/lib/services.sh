# shellcheck shell=bash
# The functions: one image, a Cloud Run service each, and which revision gets the traffic. Sourced.

# build_image: sets IMAGE, with its digest. What was built once from the same source, for the same store, is not built again.
build_image() {
  local repository="$REGION-docker.pkg.dev/$PROJECT/$PREFIX/casewatch" builder tag digest image store=postgres other=nofirestore
  builder=$(get '.accounts[] | select(.id | endswith("-build")).email')
  [ "$(get '.firestore != null')" != true ] || { store=firestore other=nopostgres; }
  say 'Image'
  if [ -n "$DRY_RUN" ]; then
    tag='{SOURCE}'
  else
    tag=$(cd "$ROOT" && gcloud meta list-files-for-upload | "$WORK/settings" source) || die 'the source could not be read'
  fi
  SOURCE=$tag
  image="$repository:$tag-$store"
  if [ -z "$DRY_RUN" ] && digest=$(image_digest "$image") && [ -n "$digest" ]; then
    note "ok: image $image"
  else
    build_config "$image" "$other" >"$WORK/build.json"
    [ -z "$DRY_RUN" ] || note "build.json: $(jq -c . "$WORK/build.json")"
    run gcloud builds submit "$ROOT" --config="$WORK/build.json" --timeout=30m \
      --service-account="projects/$PROJECT/serviceAccounts/$builder" --default-buckets-behavior=regional-user-owned-bucket --project="$PROJECT"
    if [ -n "$DRY_RUN" ]; then
      digest='{DIGEST}'
    else
      digest=$(image_digest "$image") || digest=
      [ -n "$digest" ] || die "the build left no image $image"
    fi
  fi
  IMAGE=$repository@$digest
}

# build_config IMAGE TAG: the build that gcloud makes of --pack, which takes one variable only. FUNCTION_TARGET of the environment overrules the target that is
# built in. The tags leave out the store that is not used, and a page of gRPC that nobody asks for; nothing that debuggers read is linked
# (https://cloud.google.com/docs/buildpacks/go).
build_config() {
  jq -n --arg image "$1" --arg tags "-tags=grpcnotrace,$2" '{
    steps: [
      {name: "gcr.io/k8s-skaffold/pack", entrypoint: "pack", args: ["config", "default-builder", "gcr.io/buildpacks/builder:latest"]},
      {name: "gcr.io/k8s-skaffold/pack", entrypoint: "pack", args: ["build", $image, "--network", "cloudbuild",
        "--env", "GOOGLE_FUNCTION_TARGET=start", "--env", "GOFLAGS=\($tags)", "--env", "GOOGLE_GOLDFLAGS=-s -w"]}
    ],
    images: [$image]
  }'
}

# image_digest IMAGE: its digest; nothing if it is not there. Fails if that cannot be known.
image_digest() {
  gcloud artifacts docker images describe "$1" --format='value(image_summary.digest)' --project="$PROJECT" 2>"$WORK/digest.err" && return
  if grep -qiE 'not.found' "$WORK/digest.err"; then
    return 0
  fi
  cat "$WORK/digest.err" >&2
  return 1
}

# live_service NAME FILTER: a value of a live service; nothing if there is none.
live_service() {
  [ -f "$STATE/services.json" ] || return 0
  jq -r --arg name "$1" ".[] | select(.metadata.name == \$name) | ($2) // empty" "$STATE/services.json"
}

# serving NAME: the revision that gets all of the traffic, or most of it.
serving() { live_service "$1" '[.status.traffic[]? | select((.percent // 0) > 0)] | sort_by(-.percent) | .[0].revisionName'; }
newest() { live_service "$1" .status.latestReadyRevisionName; }
tagged() { live_service "$1" '[.status.traffic[]? | select(.tag == "candidate")] | .[0].revisionName'; }

read_services() {
  list services run gcloud run services list --region="$REGION"
  all_read
}

# next_release: the number of this release. One that was never promoted goes on.
next_release() {
  if [ -n "$DRY_RUN" ]; then
    RELEASE='{RELEASE}'
    return
  fi
  RELEASE=$(jq --arg prefix "$PREFIX" '
    [.[] | select(.metadata.labels.casewatch == $prefix) | {
      release: (.metadata.labels["casewatch-release"] // "0" | tonumber),
      pending: ([.status.traffic[]? | select((.percent // 0) == 100).revisionName] != [.status.latestCreatedRevisionName])
    }] | (map(.release) | max // 0) as $last | if any(.[]; .release == $last and .pending) then $last else $last + 1 end' "$STATE/services.json")
}

# deploy_services: makes the revisions that differ. A service that serves already gets its new one without traffic, as the candidate.
deploy_services() {
  local function name account cpu memory concurrency timeout least most ingress iap spec before secrets flags labels command behind why doors=()
  say 'Functions'
  settings render "$WORK"
  next_release
  while IFS=$'\t' read -r function name account memory cpu concurrency timeout least most ingress iap spec; do
    needs service "$name" || continue
    before=$(serving "$name")
    [ -z "$DRY_RUN" ] || spec='{SPEC}'
    labels="casewatch=$PREFIX,casewatch-function=$function,casewatch-release=$RELEASE,casewatch-source=$SOURCE,casewatch-spec=$spec,casewatch-before=$before"
    # Who may call is a step of its own; without the flag, gcloud asks.
    if [ -n "$before" ]; then flags=(--no-traffic --tag=candidate); else flags=(--no-allow-unauthenticated); fi
    if [ "$(live_service "$name" '.metadata.annotations["run.googleapis.com/invoker-iam-disabled"]' | tr T t)" = true ] &&
      [ "$(get ".services[] | select(.name == \"$name\").public")" = false ]; then
      flags+=(--invoker-iam-check)
    fi
    command=(gcloud run deploy)
    behind=$(live_service "$name" '.metadata.annotations["run.googleapis.com/iap-enabled"]' | tr T t)
    if [ "$iap" != "${behind:-false}" ]; then
      [ "$iap" = false ] || ensure_agent iap "service/$name"
      if [ "$iap" = true ]; then flags+=(--iap); else flags+=(--no-iap); fi
      command=(gcloud beta run deploy) # where every version of gcloud that knows the flag has it
      doors+=("$name")
    fi
    secrets=$(get ".services[] | select(.name == \"$name\").secrets | to_entries | map(\"\(.key)=\(.value.name):\(.value.version)\") | join(\",\")")
    if [ -n "$secrets" ]; then flags+=("--set-secrets=$secrets"); else flags+=(--clear-secrets); fi
    run "${command[@]}" "$name" --image="$IMAGE" --region="$REGION" --service-account="$account" "${flags[@]}" \
      --env-vars-file="$WORK/env/$function.json" \
      --memory="$memory" --cpu="$cpu" --concurrency="$concurrency" --timeout="$timeout" --min-instances="$least" --max-instances="$most" --ingress="$ingress" \
      --cpu-throttling --cpu-boost --execution-environment=gen2 --labels="$labels" --project="$PROJECT"
    [ -z "$DRY_RUN" ] || jq -r 'to_entries[] | "     \(.key)=\(.value)"' "$WORK/env/$function.json"
  done < <(get '.services[] | [.function, .name, .account, .memory, .cpu, .concurrency, .timeout, .min_instances, .max_instances, .ingress, .iap, .spec] | @tsv')
  while IFS=$'\t' read -r name why; do
    note "no $name: $why"
  done < <(get '.omitted[] | [.name, .why] | @tsv')
  [ -z "$DRY_RUN" ] || return 0
  for name in "${doors[@]}"; do # gcloud has written their policies
    list policy-service-"$name" run gcloud run services get-iam-policy "$name" --region="$REGION"
  done
  read_services
  [ "${#doors[@]}" = 0 ] || compare
}

# answers URL METHOD: whether a function answers there at all: with what is ours, and not that it cannot work.
answers() {
  local status
  status=$(curl -sS --max-time 60 --retry 3 --retry-all-errors -o "$WORK/answer" -w '%{http_code} %{content_type}' -X "$2" "$1") || return 1
  case $status in
  [24]*json*) return 0 ;;
  esac
  note "$2 $1 is answered $status: $(head -c 300 "$WORK/answer")" >&2
  return 1
}

# probe_candidates: the public functions answer under the candidate's tag, before anybody is sent there. (The private ones are behind IAM: that their
# revisions got ready, with all of their settings read, is what can be seen of them.)
probe_candidates() {
  local function name url
  say 'Candidates'
  while read -r function name; do
    if [ -n "$DRY_RUN" ]; then
      note "GET the candidate of $name"
      continue
    fi
    url=$(live_service "$name" '[.status.traffic[]? | select(.tag == "candidate")] | .[0].url')
    [ -n "$url" ] || continue
    answers "$url/probe" GET || die "the candidate of $name does not answer; traffic is where it was"
    note "ok: $url answers"
  done < <(get '.services[] | select(.function == "start" or .function == "status") | "\(.function) \(.name)"')
}

# candidates: whether a public function has a candidate that a case can be started by.
candidates() {
  [ -n "$DRY_RUN" ] || [ -n "$(tagged "$PREFIX-start")$(tagged "$PREFIX-status")" ]
}

declare -A BEFORE=() # of the services promoted: what served before

# promote: all traffic to the newest revisions, the private functions first: a public one of the new release never calls an old private one.
promote() {
  local name to before tag flags
  say 'Traffic'
  while read -r name; do
    if [ -n "$DRY_RUN" ]; then
      note "if $name served before: gcloud run services update-traffic $name --to-revisions={REVISION}=100 --remove-tags=candidate --region=$REGION --project=$PROJECT"
      continue
    fi
    to=$(newest "$name") before=$(serving "$name") tag=$(tagged "$name")
    if [ "$(live_service "$name" '[.status.traffic[]? | select((.percent // 0) == 100)] | .[0].revisionName')" = "$to" ] && [ -z "$tag" ]; then
      note "ok: $name serves $to"
      continue
    fi
    flags=()
    [ -z "$tag" ] || flags+=(--remove-tags=candidate)
    [ "$before" = "$to" ] || BEFORE[$name]=$before
    run gcloud run services update-traffic "$name" --to-revisions="$to=100" "${flags[@]}" --region="$REGION" --project="$PROJECT"
  done < <(get '.services[].name')
}

# traffic_back: the public functions first, to what served before.
traffic_back() {
  local name failed=0
  [ "${#BEFORE[@]}" != 0 ] || return 0
  say 'Traffic goes back to what served before'
  while read -r name; do
    [ -n "${BEFORE[$name]:-}" ] || continue
    (run gcloud run services update-traffic "$name" --to-revisions="${BEFORE[$name]}=100" --region="$REGION" --project="$PROJECT") || failed=1
  done < <(get '.services | reverse | .[].name')
  return "$failed"
}
