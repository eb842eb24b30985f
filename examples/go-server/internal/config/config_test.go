package config

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func environment(values map[string]string) func(string) string {
	return func(name string) string { return values[name] }
}

func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestEnvNamesTheFile(t *testing.T) {
	dir := folder(t, map[string]string{
		"env_dev.yaml":  "environment: dev\n",
		"env_prod.yaml": "environment: prod\nlog_level: warn\nport: 9100\nshutdown_timeout: 2s\n",
	})
	config, err := Load(dir, environment(map[string]string{"ENV": "prod"}))
	if err != nil {
		t.Fatal(err)
	}
	want := Config{Environment: "prod", LogLevel: slog.LevelWarn, Port: 9100, NotesLimit: 100, ShutdownTimeout: 2 * time.Second}
	if config != want {
		t.Errorf("got %+v, want %+v", config, want)
	}
	if config.Address() != ":9100" {
		t.Errorf("address %q", config.Address())
	}
}

func TestTheOnlyFileIsTakenWithoutEnv(t *testing.T) {
	dir := folder(t, map[string]string{"env_dev.yaml": "environment: dev\ngreeting: hi\n"})
	config, err := Load(dir, environment(nil))
	if err != nil {
		t.Fatal(err)
	}
	if config.Environment != "dev" || config.Greeting != "hi" || config.Port != 9000 {
		t.Errorf("got %+v", config)
	}
}

func TestPortOverridesTheFile(t *testing.T) {
	dir := folder(t, map[string]string{"env_dev.yaml": "environment: dev\nport: 9100\n"})
	config, err := Load(dir, environment(map[string]string{"PORT": "9200"}))
	if err != nil {
		t.Fatal(err)
	}
	if config.Port != 9200 {
		t.Errorf("port %d", config.Port)
	}
}

func TestWhatCannotBeLoadedIsExplained(t *testing.T) {
	one := map[string]string{"env_dev.yaml": "environment: dev\n"}
	cases := map[string]struct {
		files  map[string]string
		values map[string]string
		says   string
	}{
		"no file":          {nil, nil, "build argument ENV"},
		"two files":        {map[string]string{"env_a.yaml": "", "env_b.yaml": ""}, nil, "there are 2 environment files"},
		"ENV without file": {one, map[string]string{"ENV": "stage"}, "env_stage.yaml"},
		"unknown key":      {map[string]string{"env_dev.yaml": "environment: dev\ncolour: red\n"}, nil, "colour"},
		"no environment":   {map[string]string{"env_dev.yaml": "greeting: hi\n"}, nil, "environment is empty"},
		"bad log level":    {map[string]string{"env_dev.yaml": "environment: dev\nlog_level: loud\n"}, nil, "loud"},
		"bad limit":        {map[string]string{"env_dev.yaml": "environment: dev\nnotes_limit: 0\n"}, nil, "notes_limit is 0"},
		"bad timeout":      {map[string]string{"env_dev.yaml": "environment: dev\nshutdown_timeout: 0s\n"}, nil, "shutdown_timeout is 0s"},
		"port too large":   {one, map[string]string{"PORT": "70000"}, "port is 70000"},
		"port not number":  {one, map[string]string{"PORT": "http"}, `PORT is "http"`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := Load(folder(t, c.files), environment(c.values))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want a message with %q", err, c.says)
			}
		})
	}
}

func TestTheCommittedFilesLoad(t *testing.T) {
	for _, name := range []string{"dev", "prod"} {
		config, err := Load(filepath.Join("..", "..", Dir), environment(map[string]string{"ENV": name}))
		if err != nil {
			t.Fatal(err)
		}
		if config.Environment != name || config.Port != 9000 {
			t.Errorf("%s: got %+v", name, config)
		}
	}
}
