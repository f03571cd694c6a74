package machine

import (
	"context"
	"io"
	"net/http"
	"time"
)

// sign returns the ID token of an account for an audience, as Google would.
func (m *Machine) sign(_ context.Context, account, audience string) (string, error) {
	return m.Issuer.Sign(account, audience), nil
}

// callSweep calls sweep as Cloud Scheduler would, until ctx ends.
func (m *Machine) callSweep(ctx context.Context) {
	client := &http.Client{Timeout: time.Minute}
	defer client.CloseIdleConnections()
	ticker := time.NewTicker(m.sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.base+"/sweep", nil)
		if err != nil {
			m.log.Error("sweep cannot be called", "error", err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+m.Issuer.Sign(schedulerAccount, m.base))
		res, err := client.Do(req)
		if err != nil {
			if ctx.Err() == nil {
				m.log.Warn("sweep did not answer", "error", err)
			}
			continue
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			m.log.Warn("sweep failed", "status", res.StatusCode)
		}
	}
}
