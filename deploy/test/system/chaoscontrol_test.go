package system_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	apiv1 "cloud.google.com/go/firestore/apiv1"
	pb "cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/casewatch/casewatch/shared/store/firestore/firestoretest"
)

// What the control writes: as many documents as there are cases, each as large as a record, as
// often as a case is checked, each write for as long as the store's driver tries once.
const (
	controlWrites  = time.Second
	controlBytes   = 2 << 10
	controlAttempt = 15 * time.Second
)

// TestChaosControl (CONTROL=1) is the chaos on Firestore's emulator without Casewatch: writers that
// do nothing but write, each its own document, with Google's generated client and no repeats, under
// the same faults of the store at the same times. How long they take after the faults is what the
// emulator takes on this machine. It fails only if a writer never gets through.
func TestChaosControl(t *testing.T) {
	if os.Getenv("CONTROL") == "" {
		t.Skip("the control run of the chaos on Firestore: make chaos CONTROL=1")
	}
	o := chaosFromEnv(t)
	store := chaosOnFirestore(t)
	c := &chaos{system: &system{}, chaosOptions: o, kinds: store.outages}
	idle := func(name, of string) outage {
		return outage{name: name + " (not there)", of: of, begin: func() func() { return func() {} }}
	}
	// In the order of newChaos, so that the same seed hurts the store at the same times.
	c.kinds = append(c.kinds, idle("the queue server is killed", "queue"),
		idle("the Pub/Sub emulator is frozen", "pubsub"),
		idle("Pub/Sub cannot be reached", "pubsub"), idle("the queue cannot be reached", "queue"))
	for _, of := range []string{"queue", "pubsub", "pipeline"} {
		c.kinds = append(c.kinds, idle("slow", of), idle("broken", of))
	}
	c.kinds = append(c.kinds, slow("store", store.link), broken("store", store.link))

	client, err := apiv1.NewClient(t.Context(), option.WithEndpoint(store.link.addr), option.WithoutAuthentication(),
		option.WithGRPCConnectionPool(4),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.CallOptions = &apiv1.CallOptions{}

	c.began = time.Now()
	over := c.began.Add(c.lasts)
	database := "projects/" + firestoretest.Project() + "/databases/(default)"
	var saved, failed atomic.Int64
	// from the end of the faults until a write that began after it was saved; 0: none was
	recovered := make([]time.Duration, c.cases)
	write := func(n int) error {
		ctx, cancel := context.WithTimeout(t.Context(), controlAttempt)
		defer cancel()
		_, err := client.Commit(ctx,
			&pb.CommitRequest{Database: database, Writes: []*pb.Write{{Operation: &pb.Write_Update{Update: &pb.Document{
				Name: fmt.Sprintf("%s/documents/control/%d", database, n),
				Fields: map[string]*pb.Value{
					"data": {ValueType: &pb.Value_StringValue{StringValue: strings.Repeat("x", controlBytes)}},
				},
			}}}}})
		return err
	}
	var writing, hurting sync.WaitGroup
	for n := range c.cases {
		writing.Go(func() {
			time.Sleep(time.Until(c.began.Add(c.lasts * 9 / 10 * time.Duration(n) / time.Duration(c.cases))))
			for recovered[n] == 0 && time.Now().Before(over.Add(quietWithin)) {
				at := time.Now()
				if err := write(n); err != nil {
					failed.Add(1)
				} else if saved.Add(1); at.After(over) {
					recovered[n] = time.Since(over)
				}
				time.Sleep(time.Until(at.Add(controlWrites)))
			}
		})
	}
	for n, kinds := range c.series() {
		hurting.Go(func() { c.haveOutages(t, kinds, rand.New(rand.NewPCG(c.seed, uint64(3+n))), over) })
	}
	hurting.Wait()
	t.Logf("the faults are over: %d writes were saved, %d failed", saved.Load(), failed.Load())
	writing.Wait()
	if n := slices.Index(recovered, 0); n >= 0 {
		t.Errorf("writer %d never got through", n)
	}
	t.Logf("%v CONTROL: a write of each of %d writers was saved after the faults, at p50 %v, p99 %v, the last %v", o,
		c.cases, share(recovered, 50), share(recovered, 99), share(recovered, 100))
}
