// Command usage starts a case and reads it, by a client that was generated.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/casewatch/casewatch/deploy/tools/openapi/client"
)

func main() {
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	c, err := client.NewClientWithResponses("http://127.0.0.1:8080")
	if err != nil {
		return err
	}
	id, supersede := "smith-2026-114", true
	begun, err := c.StartCaseWithResponse(ctx, &client.StartCaseParams{Supersede: &supersede}, client.Form{CaseId: &id})
	if err != nil {
		return err
	}
	if begun.JSON202 == nil {
		return fmt.Errorf("not begun: %s", begun.Status())
	}
	shown, err := c.GetCaseWithResponse(ctx, begun.JSON202.CaseId, &client.GetCaseParams{})
	if err != nil {
		return err
	}
	fmt.Println(shown.JSON200.State, shown.JSON200.Progress.Percent, shown.JSON200.DeadlineAt)
	return nil
}
