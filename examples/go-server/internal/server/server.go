package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"go-server/internal/config"
)

// Run serves on listener until ctx ends, then lets running requests finish for at most config.ShutdownTimeout.
// It returns nil after a clean end and closes listener in any case.
func Run(ctx context.Context, listener net.Listener, config config.Config, log *slog.Logger) error {
	server := &http.Server{Handler: Router(config, log), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()

	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	log.Info("stopping", "at_most", config.ShutdownTimeout)
	limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.ShutdownTimeout)
	defer cancel()
	if err := server.Shutdown(limit); err != nil {
		return errors.Join(fmt.Errorf("requests were still running after %s: %w", config.ShutdownTimeout, err), server.Close())
	}
	return nil
}
