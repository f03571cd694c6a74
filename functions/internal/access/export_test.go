package access

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/casewatch/casewatch/shared/config"
	"github.com/casewatch/casewatch/shared/identity"
)

// NameOf is the name of the caller with a credential.
func NameOf(credential string) string { return nameOf(credential) }

// Bearer returns the credentials of an Authorization header.
func Bearer(header string) (credentials string, ok bool) { return bearer(header) }

// ConsoleOf is [Console] with another IAP.
func ConsoleOf(
	cfg *config.Config,
	log *slog.Logger,
	now func() time.Time,
	iap identity.Config,
) func(*http.Request) (string, error) {
	return console(cfg, log, now, iap)
}
