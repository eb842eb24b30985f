// Package config loads the one environment file that this process runs with.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Dir is where the image and the source tree keep the environment files, relative to the working directory.
const Dir = "_envs"

// Config is the content of _envs/env_<name>.yaml.
type Config struct {
	Environment     string        `yaml:"environment"`
	Greeting        string        `yaml:"greeting"`
	LogLevel        slog.Level    `yaml:"log_level"`
	Port            int           `yaml:"port"`
	NotesLimit      int           `yaml:"notes_limit"`
	ShutdownTimeout time.Duration `yaml:"shutdown_timeout"`
}

// Address is what the server listens on: every interface, the configured port.
func (c Config) Address() string {
	return net.JoinHostPort("", strconv.Itoa(c.Port))
}

// Load reads the environment file from dir and checks it.
//
// getenv supplies ENV (which file) and PORT (overrides the file's port); both may be empty. Without ENV the only
// env_*.yaml in dir is taken: an image holds exactly one, because ENV is a build argument and not set at run time.
func Load(dir string, getenv func(string) string) (Config, error) {
	path, err := find(dir, getenv("ENV"))
	if err != nil {
		return Config{}, err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("environment file: %w", err)
	}
	config := Config{LogLevel: slog.LevelInfo, Port: 9000, NotesLimit: 100, ShutdownTimeout: 5 * time.Second}
	if err := yaml.UnmarshalWithOptions(text, &config, yaml.Strict()); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	if port := getenv("PORT"); port != "" {
		if config.Port, err = strconv.Atoi(port); err != nil {
			return Config{}, fmt.Errorf("PORT is %q: it must be a number from 1 to 65535", port)
		}
	}
	if err := config.check(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return config, nil
}

func find(dir, name string) (string, error) {
	if name != "" {
		return filepath.Join(dir, "env_"+name+".yaml"), nil
	}
	found, err := filepath.Glob(filepath.Join(dir, "env_*.yaml"))
	if err != nil {
		return "", err
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("no %s: the build argument ENV chooses which one the image holds", filepath.Join(dir, "env_*.yaml"))
	case 1:
		return found[0], nil
	default:
		return "", fmt.Errorf("ENV is not set and there are %d environment files (%s): set ENV to choose one",
			len(found), strings.Join(found, ", "))
	}
}

func (c Config) check() error {
	switch {
	case c.Environment == "":
		return errors.New("environment is empty: give it a name, such as dev")
	case c.Port < 1 || c.Port > 65535:
		return fmt.Errorf("port is %d: it must be from 1 to 65535", c.Port)
	case c.NotesLimit < 1:
		return fmt.Errorf("notes_limit is %d: it must be at least 1", c.NotesLimit)
	case c.ShutdownTimeout <= 0:
		return fmt.Errorf("shutdown_timeout is %s: it must be longer than 0s", c.ShutdownTimeout)
	}
	return nil
}
