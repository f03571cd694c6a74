package googlefake

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

const (
	region = "--location=us-central1"
	inUS   = "projects/demo-p/locations/us-central1"
)

// The real gcloud, against everything that it is asked for in a deployment: what it sends, and what it reads back.

func TestGcloudProject(t *testing.T) {
	t.Parallel()
	c := newCLI(t, Start(t, Options{}))
	c.prints("123456789012", "projects describe demo-p --format=value(projectNumber)")
	c.fails("SERVICE_DISABLED", "iam service-accounts create starter")
	c.fake.ResetCalls()
	c.run("services enable iam.googleapis.com pubsub.googleapis.com run.googleapis.com")
	c.prints("iam.googleapis.com", "services list --enabled --filter=config.name=iam.googleapis.com --format=value(config.name)")
	c.run("iam service-accounts create starter --display-name=Start")
	c.fails("already exists", "iam service-accounts create starter")
	c.run("beta services identity create --service=pubsub.googleapis.com")
	c.run("projects add-iam-policy-binding demo-p --member=serviceAccount:starter@demo-p.iam.gserviceaccount.com --role=roles/datastore.user --condition=None --format=none")
	c.run("iam service-accounts add-iam-policy-binding starter@demo-p.iam.gserviceaccount.com --member=serviceAccount:starter@demo-p.iam.gserviceaccount.com --role=roles/iam.serviceAccountUser --format=none")
	c.prints("roles/datastore.user\troles/owner", "projects get-iam-policy demo-p --format=value(bindings[1].role,bindings[0].role)")
	c.prints("123456789012-compute@developer.gserviceaccount.com\nstarter@demo-p.iam.gserviceaccount.com", "iam service-accounts list --format=value(email)")
	c.run("iam service-accounts delete starter@demo-p.iam.gserviceaccount.com")
	c.fails("NOT_FOUND", "iam service-accounts describe starter@demo-p.iam.gserviceaccount.com")
	c.prints("a-token-of-the-fake", "auth print-access-token")
	const owner = `{"members":["user:owner@example.com"],"role":"roles/owner"}`
	const starter = `"serviceAccount:starter@demo-p.iam.gserviceaccount.com"`
	c.sent(
		`POST serviceusage v1/projects/demo-p/services:batchEnable {"serviceIds":["iam.googleapis.com","pubsub.googleapis.com","run.googleapis.com"]}`,
		`POST iam v1/projects/demo-p/serviceAccounts {"accountId":"starter","serviceAccount":{"displayName":"Start"}}`,
		`POST iam v1/projects/demo-p/serviceAccounts {"accountId":"starter","serviceAccount":{}}`,
		`POST serviceusage v1beta1/projects/demo-p/services/pubsub.googleapis.com:generateServiceIdentity`,
		`POST cloudresourcemanager v1/projects/demo-p:setIamPolicy {"policy":{"bindings":[`+owner+`,{"members":[`+starter+`],"role":"roles/datastore.user"}],"etag":"ETAG","version":3}}`,
		`POST iam v1/projects/demo-p/serviceAccounts/starter@demo-p.iam.gserviceaccount.com:setIamPolicy {"policy":{"bindings":[{"members":[`+starter+`],"role":"roles/iam.serviceAccountUser"}],"etag":"ETAG","version":3}}`,
		`DELETE iam v1/projects/-/serviceAccounts/starter@demo-p.iam.gserviceaccount.com`,
	)
}

func TestGcloudBuild(t *testing.T) {
	t.Parallel()
	c := newCLI(t, Start(t, Options{AllServices: true}))
	c.file("src/function.go", "package functions\n")
	c.run("artifacts repositories create casewatch --repository-format=docker " + region)
	c.fails("not found", "artifacts docker images describe "+registry+":one")
	c.run("builds submit src --suppress-logs --region=us-central1 --pack=image=" + registry + ":one,env=GOOGLE_FUNCTION_TARGET=start")
	digest := c.run("artifacts docker images describe " + registry + ":one --format=value(image_summary.digest)")
	if !strings.HasPrefix(digest, "sha256:") || len(digest) != 71 {
		t.Errorf("the image's digest is %q", digest)
	}
	c.prints(digest+"\tone", "artifacts docker images list us-central1-docker.pkg.dev/demo-p/casewatch --include-tags --format=value(version,tags)")
	uploads := c.fake.Uploads()
	if len(uploads) != 1 || strings.Join(tarNames(t, uploads[0].Data), " ") != "function.go" {
		t.Errorf("uploaded %v, want one archive with function.go", uploads)
	}
	c.sent(
		`POST artifactregistry v1/`+inUS+`/repositories?repositoryId=casewatch {"format":"DOCKER","mode":"MODE_UNSPECIFIED","name":"`+inUS+`/repositories/casewatch"}`,
		`POST storage b?enableObjectRetention=False&project=demo-p {"name":"demo-p_cloudbuild"}`,
		`POST upload storage/v1/b/demo-p_cloudbuild/o?name=source/UPLOAD.tgz&uploadType=multipart <multipart/related>`,
		`POST cloudbuild v1/`+inUS+`/builds {"images":["`+registry+`:one"],"source":{"storageSource":{"bucket":"demo-p_cloudbuild","generation":"GENERATION","object":"source/UPLOAD.tgz"}},"steps":[`+
			`{"args":["config","default-builder","gcr.io/buildpacks/builder:latest"],"entrypoint":"pack","name":"gcr.io/k8s-skaffold/pack"},`+
			`{"args":["build","`+registry+`:one","--network","cloudbuild","--env","GOOGLE_FUNCTION_TARGET=start"],"entrypoint":"pack","name":"gcr.io/k8s-skaffold/pack"}],`+
			`"tags":["gcp-runtimes-builder-default-gcloudsubmits","gcp-runtimes-builder-latest-gcloudsubmits"]}`,
	)
}

// tarNames lists an archive's files.
func tarNames(t *testing.T, data []byte) []string {
	t.Helper()
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for archive := tar.NewReader(unzipped); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			names = append(names, header.Name)
		}
	}
}

func TestGcloudRun(t *testing.T) {
	t.Parallel()
	c := newCLI(t, project(t))
	c.fake.SetURL("status", "http://127.0.0.1:1/status")
	must(t, c.fake, "POST", "cloudbuild", "v1/projects/demo-p/locations/global/builds", obj{"images": []any{registry + ":two"}})
	c.fake.ResetCalls()
	one := revisionName("status", 1)
	const in = " --region=us-central1"
	c.file("env.json", `{"STORE":"firestore:","LIST":"a,b"}`)
	c.run("run deploy status --image=" + registry + ":one --service-account=starter@demo-p.iam.gserviceaccount.com --memory=1Gi --cpu=1 --concurrency=250 --timeout=300 --min-instances=1 --max-instances=10" +
		" --ingress=all --no-allow-unauthenticated --env-vars-file=env.json --labels=app=casewatch --cpu-boost --cpu-throttling --execution-environment=gen2" + in)
	c.run("run services add-iam-policy-binding status --member=allUsers --role=roles/run.invoker --format=none" + in)
	c.run("run deploy status --image=" + registry + ":two --no-traffic --tag=candidate --update-env-vars=LOG=debug" + in)
	two, found := strings.CutPrefix(c.run("run services describe status --format=value(status.traffic.revisionName,status.traffic.tag,status.url)"+in), one+";")
	two, rest, _ := strings.Cut(two, "\t")
	if !found || !strings.HasPrefix(two, "status-00002-") || rest != "candidate\thttp://127.0.0.1:1/status" {
		t.Errorf("the traffic goes to %s, then %s as %s, want the second revision as the candidate", one, two, rest)
	}
	c.run("run services update-traffic status --to-revisions=" + two + "=100 --remove-tags=candidate" + in)
	c.prints(two, "run services list --format=value(status.traffic[0].revisionName)"+in)
	c.prints(two+"\n"+one, "run revisions list --service=status --format=value(metadata.name)"+in)
	c.prints("allUsers", "run services get-iam-policy status --format=value(bindings[0].members[0])"+in)
	c.fails("Image '"+registry+":none' not found", "run deploy other --image="+registry+":none --no-allow-unauthenticated"+in)
	c.run("run services delete status" + in)
	c.fails("Cannot find service", "run services describe status"+in)

	calls := c.fake.Mutations()
	first := calls[0].String()
	for _, want := range []string{
		`POST run us-central1/apis/serving.knative.dev/v1/namespaces/demo-p/services {`,
		`"autoscaling.knative.dev/maxScale":"10","autoscaling.knative.dev/minScale":"1"`, `"containerConcurrency":250`, `"timeoutSeconds":300`, `"limits":{"cpu":"1","memory":"1Gi"}`,
		`"env":[{"name":"STORE","value":"firestore:"},{"name":"LIST","value":"a,b"}]`, `"client.knative.dev/nonce":"NONCE"`,
		`"run.googleapis.com/client-version":"VERSION"`, `"run.googleapis.com/execution-environment":"gen2"`, `"serviceAccountName":"starter@demo-p.iam.gserviceaccount.com"`,
	} {
		if !strings.Contains(first, want) {
			t.Errorf("the first deployment sent %s, want %s in it", first, want)
		}
	}
	if unknown := c.fake.Unknown(); len(unknown) > 0 {
		t.Errorf("the fake has no answer for %v", unknown)
	}
}

func TestGcloudIAP(t *testing.T) {
	t.Parallel()
	c := newCLI(t, project(t))
	const in, behind = " --region=us-central1", " --resource-type=cloud-run --service=console --region=us-central1"
	const enabled = `--format=value(metadata.annotations."run.googleapis.com/iap-enabled")`
	c.fails("NOT_FOUND", "beta iap web get-iam-policy"+behind)
	c.run("beta services identity create --service=iap.googleapis.com")
	c.run("beta run deploy console --image=" + registry + ":one --service-account=starter@demo-p.iam.gserviceaccount.com --no-allow-unauthenticated --iap" + in)
	c.prints("true", "run services describe console "+enabled+in)
	c.prints("serviceAccount:service-123456789012@gcp-sa-iap.iam.gserviceaccount.com", "run services get-iam-policy console --format=value(bindings[0].members[0])"+in)
	c.file("policy.json", `{"bindings":[{"role":"roles/iap.httpsResourceAccessor","members":["user:operator@example.com"]}]}`)
	c.run("beta iap web set-iam-policy policy.json" + behind + " --format=none")
	if got := c.run("beta iap web get-iam-policy --format=json" + behind); !strings.HasPrefix(got, "{") || !strings.Contains(got, `"user:operator@example.com"`) {
		t.Errorf("the policy is read as %s", got)
	}
	c.run("run deploy console --image=" + registry + ":one --update-env-vars=LOG=debug" + in)
	c.prints("true", "run services describe console "+enabled+in)
	c.run("beta run deploy console --image=" + registry + ":one --no-iap" + in)
	c.prints("", "run services describe console "+enabled+in)
	c.prints("", "run services get-iam-policy console --format=value(bindings[0].members[0])"+in)
	if unknown := c.fake.Unknown(); len(unknown) > 0 {
		t.Errorf("the fake has no answer for %v", unknown)
	}
}

func TestGcloudMessaging(t *testing.T) {
	t.Parallel()
	c := newCLI(t, Start(t, Options{AllServices: true}))
	c.fake.Put("iam/projects/demo-p/serviceAccounts/push@demo-p.iam.gserviceaccount.com", obj{"email": "push@demo-p.iam.gserviceaccount.com"})
	c.run("tasks queues create check --max-dispatches-per-second=100 --max-concurrent-dispatches=50 --max-attempts=unlimited --min-backoff=1s --max-backoff=30s --max-doublings=5 " + region)
	c.run("tasks queues update check --max-dispatches-per-second=200 " + region)
	c.prints("200.0\t50\t-1\t30s", "tasks queues describe check --format=value(rateLimits.maxDispatchesPerSecond,rateLimits.maxConcurrentDispatches,retryConfig.maxAttempts,retryConfig.maxBackoff) "+region)
	c.fails("ALREADY_EXISTS", "tasks queues create check "+region)
	c.fails("NOT_FOUND", "tasks queues describe other "+region)
	c.run("tasks queues add-iam-policy-binding check --member=serviceAccount:push@demo-p.iam.gserviceaccount.com --role=roles/cloudtasks.enqueuer --format=none " + region)
	c.run("pubsub topics create events")
	c.run("pubsub topics create dead")
	c.run("pubsub subscriptions create events --topic=events --push-endpoint=https://complete/ --push-auth-service-account=push@demo-p.iam.gserviceaccount.com --push-auth-token-audience=https://complete" +
		" --ack-deadline=60 --dead-letter-topic=dead --max-delivery-attempts=10 --min-retry-delay=10s --max-retry-delay=600s --expiration-period=never")
	c.run("pubsub subscriptions update events --ack-deadline=70")
	c.prints("70\t10\thttps://complete\t600s\t604800s",
		"pubsub subscriptions describe events --format=value(ackDeadlineSeconds,deadLetterPolicy.maxDeliveryAttempts,pushConfig.oidcToken.audience,retryPolicy.maximumBackoff,messageRetentionDuration)")
	c.run("scheduler jobs create http sweep --schedule='*/5 * * * *' --uri=https://sweep/ --oidc-service-account-email=push@demo-p.iam.gserviceaccount.com --attempt-deadline=300s --time-zone=Etc/UTC " + region)
	c.run("scheduler jobs update http sweep --schedule='*/4 * * * *' " + region)
	c.prints("*/4 * * * *\t300s\thttps://sweep/", "scheduler jobs describe sweep --format=value(schedule,attemptDeadline,httpTarget.uri) "+region)
	calls := c.fake.Mutations()
	if got, want := calls[1].String(), `PATCH cloudtasks v2/`+inUS+`/queues/check?updateMask=rateLimits.maxDispatchesPerSecond {"name":"`+inUS+`/queues/check","rateLimits":{"maxDispatchesPerSecond":200.0}}`; got != want {
		t.Errorf("the queue's update sent %s, want %s", got, want)
	}
	if unknown := c.fake.Unknown(); len(unknown) > 0 {
		t.Errorf("the fake has no answer for %v", unknown)
	}
}

func TestGcloudData(t *testing.T) {
	t.Parallel()
	c := newCLI(t, Start(t, Options{AllServices: true}))
	c.file("token", "hush \xff\xfe\xfb")
	c.run("secrets create token --replication-policy=automatic")
	c.run("secrets versions add token --data-file=token")
	c.run("secrets versions access latest --secret=token --out-file=read")
	c.prints("1\tenabled", "secrets versions list token --filter=state=ENABLED --format=value(name,state)")
	const database = "projects/demo-p/databases/(default)"
	const runs = database + "/collectionGroups/runs"
	c.run("firestore databases create --location=us-central1 --type=firestore-native --format=none")
	c.prints(database, "firestore databases list --format=value(name)")
	c.run("firestore indexes composite create --collection-group=runs --field-config=field-path=shard,order=ascending --field-config=field-path=due_at,order=ascending")
	c.prints("READY\tshard;due_at;__name__", "firestore indexes composite list --format=value(state,fields.fieldPath)")
	c.run("firestore fields ttls update expire_at --collection-group=runs --enable-ttl --async --format=none")
	c.prints(runs+"/fields/expire_at\tACTIVE", "firestore fields ttls list --format=value(name,ttlConfig.state)")
	c.run("firestore indexes fields update record --collection-group=runs --disable-indexes --async --format=none")
	c.prints(runs+"/fields/record", "firestore indexes fields list --format=value(name)")
	c.run("sql instances create db --database-version=POSTGRES_17 --tier=db-custom-1-3840 --edition=enterprise --region=us-central1 --format=none")
	c.run("sql users create casewatch --instance=db --password=hush")
	c.prints("casewatch\npostgres", "sql users list --instance=db --format=value(name)")
	c.sent(
		`POST secretmanager v1/projects/demo-p/secrets?secretId=token {"annotations":{},"replication":{"automatic":{}}}`,
		`POST secretmanager v1/projects/demo-p/secrets/token:addVersion {"payload":{"data":"`+digest([]byte("hush \xff\xfe\xfb"))+`","dataCrc32c":"CRC32C"}}`,
		`POST firestore v1/projects/demo-p/databases?databaseId=(default) {"cmekConfig":{},"databaseEdition":"STANDARD","deleteProtectionState":"DELETE_PROTECTION_DISABLED","locationId":"us-central1","pointInTimeRecoveryEnablement":"POINT_IN_TIME_RECOVERY_ENABLEMENT_UNSPECIFIED","type":"FIRESTORE_NATIVE"}`,
		`POST firestore v1/`+runs+`/indexes {"apiScope":"ANY_API","fields":[{"fieldPath":"shard","order":"ASCENDING"},{"fieldPath":"due_at","order":"ASCENDING"}],"multikey":false,"queryScope":"COLLECTION"}`,
		`PATCH firestore v1/`+runs+`/fields/expire_at?updateMask=ttlConfig {"name":"`+runs+`/fields/expire_at","ttlConfig":{}}`,
		`PATCH firestore v1/`+runs+`/fields/record?updateMask=indexConfig {"indexConfig":{},"name":"`+runs+`/fields/record"}`,
		`POST sql sql/v1beta4/projects/demo-p/instances {"databaseVersion":"POSTGRES_17","kind":"sql#instance","name":"db","project":"demo-p","region":"us-central1","settings":{"edition":"ENTERPRISE","kind":"sql#settings","pricingPlan":"PER_USE","replicationType":"SYNCHRONOUS","tier":"db-custom-1-3840"}}`,
		`POST sql sql/v1beta4/projects/demo-p/instances/db/users {"instance":"db","kind":"sql#user","name":"casewatch","password":"`+digest([]byte("hush"))+`","project":"demo-p"}`,
	)
}

func TestGcloudOperations(t *testing.T) {
	t.Parallel()
	c := newCLI(t, Start(t, Options{AllServices: true}))
	c.file("metric.yaml", "filter: jsonPayload.message=\"swept\"\nvalueExtractor: EXTRACT(jsonPayload.leaked)\nmetricDescriptor: {metricKind: DELTA, valueType: DISTRIBUTION}\n")
	c.file("alert.json", `{"displayName":"leaked","combiner":"OR","conditions":[{"displayName":"c","conditionThreshold":{"filter":"metric.type=\"logging.googleapis.com/user/casewatch/leaked\"","comparison":"COMPARISON_GT"}}]}`)
	c.file("board.json", `{"displayName":"Casewatch","gridLayout":{"columns":"2"}}`)
	c.run("logging metrics create casewatch/leaked --config-from-file=metric.yaml")
	c.prints("casewatch/leaked", "logging metrics list --format=value(name)")
	c.run("alpha monitoring policies create --policy-from-file=alert.json")
	policy := c.run("alpha monitoring policies list --filter=displayName=leaked --format=value(name)")
	c.run("alpha monitoring policies update " + policy + " --policy-from-file=alert.json")
	c.run("beta monitoring channels create --type=email --display-name=ops --channel-labels=email_address=ops@example.com")
	c.prints("ops", "beta monitoring channels list --format=value(displayName)")
	c.run("monitoring dashboards create --config-from-file=board.json")
	board := c.run("monitoring dashboards list --format=value(name)")
	c.run("monitoring dashboards delete " + board)
	c.fake.Put("logging/projects/demo-p/entries/1", obj{"insertId": "1", "textPayload": "hello"})
	c.prints("hello", "logging read resource.type=cloud_run_revision --limit=1 --format=value(textPayload)")

	c.fake.Fail("^DELETE monitoring .*/alertPolicies/", 1, http.StatusForbidden)
	c.fails("PERMISSION_DENIED", "alpha monitoring policies delete "+policy)
	c.run("alpha monitoring policies delete " + policy)
	if c.fake.Has(policy) {
		t.Errorf("%s was deleted and is there", policy)
	}
	if unknown := c.fake.Unknown(); len(unknown) > 0 {
		t.Errorf("the fake has no answer for %v", unknown)
	}
}
