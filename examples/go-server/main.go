// Command go-server is the example service: a health check and a small notes API.
package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"

	"go-server/internal/config"
	"go-server/internal/server"
	"go-server/internal/version"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "go-server:", err)
		os.Exit(1)
	}
}

func run() error {
	cfg, err := config.Load(config.Dir, os.Getenv)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: cfg.LogLevel}))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	listener, err := net.Listen("tcp", cfg.Address())
	if err != nil {
		return err
	}
	log.Info("listening", "address", listener.Addr().String(), "version", version.Number, "environment", cfg.Environment)
	return server.Run(ctx, listener, cfg, log)
}
