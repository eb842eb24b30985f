package server

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go-server/internal/config"
	"go-server/internal/version"
)

var dev = config.Config{
	Environment: "dev", Greeting: "hello", LogLevel: slog.LevelDebug, Port: 9000, NotesLimit: 2, ShutdownTimeout: 5 * time.Second,
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func ask(t *testing.T, handler http.Handler, method, path, body string) (int, http.Header, string) {
	t.Helper()
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(method, path, strings.NewReader(body)))
	return answer.Code, answer.Header(), answer.Body.String()
}

func TestHealthTellsStatusVersionAndEnvironment(t *testing.T) {
	code, header, body := ask(t, Router(dev, quiet()), "GET", "/health", "")
	if code != http.StatusOK || !strings.HasPrefix(header.Get("Content-Type"), "application/json") {
		t.Fatalf("%d %s", code, header)
	}
	var got map[string]string
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"status": "ok", "version": version.Number, "environment": "dev", "greeting": "hello", "log_level": "DEBUG",
	}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %q, want %q", key, got[key], value)
		}
	}
}

func TestANoteLivesFromCreateToDelete(t *testing.T) {
	router := Router(dev, quiet())
	code, header, body := ask(t, router, "POST", "/notes", `{"text": "buy milk"}`)
	if code != http.StatusCreated || header.Get("Location") != "/notes/1" || !strings.Contains(body, `"text":"buy milk"`) {
		t.Fatalf("create: %d %s %s", code, header, body)
	}
	if code, _, again := ask(t, router, "GET", "/notes/1", ""); code != http.StatusOK || again != body {
		t.Errorf("get: %d %s", code, again)
	}
	if code, _, list := ask(t, router, "GET", "/notes", ""); code != http.StatusOK || list != `{"notes":[`+body+`]}` {
		t.Errorf("list: %d %s", code, list)
	}
	if code, _, _ := ask(t, router, "DELETE", "/notes/1", ""); code != http.StatusNoContent {
		t.Errorf("delete: %d", code)
	}
	if _, _, list := ask(t, router, "GET", "/notes", ""); list != `{"notes":[]}` {
		t.Errorf("list after delete: %s", list)
	}
}

func TestRequestsThatCannotBeMetAreRefusedByStatus(t *testing.T) {
	router := Router(dev, quiet())
	for range dev.NotesLimit {
		ask(t, router, "POST", "/notes", `{"text": "x"}`)
	}
	cases := []struct {
		method, path, body string
		code               int
	}{
		{"POST", "/notes", `{"text": "one too many"}`, http.StatusInsufficientStorage},
		{"POST", "/notes", `{"text": ""}`, http.StatusUnprocessableEntity},
		{"POST", "/notes", `not JSON`, http.StatusBadRequest},
		{"POST", "/notes", `{"text": "` + strings.Repeat("x", 10_000) + `"}`, http.StatusBadRequest},
		{"POST", "/notes", `{"text": "` + strings.Repeat("x", 1_001) + `"}`, http.StatusUnprocessableEntity},
		{"GET", "/notes/77", "", http.StatusNotFound},
		{"GET", "/notes/seven", "", http.StatusNotFound},
		{"DELETE", "/notes/77", "", http.StatusNotFound},
		{"PUT", "/notes", "", http.StatusMethodNotAllowed},
		{"GET", "/nowhere", "", http.StatusNotFound},
	}
	for _, c := range cases {
		if code, _, body := ask(t, router, c.method, c.path, c.body); code != c.code {
			t.Errorf("%s %s: %d %s, want %d", c.method, c.path, code, body, c.code)
		}
	}
}

func TestEachRequestIsLoggedAtDebug(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ask(t, Router(dev, log), "GET", "/health", "")
	if !strings.Contains(out.String(), "method=GET path=/health status=200") {
		t.Errorf("log: %s", out.String())
	}
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, listener, dev, quiet()) }()

	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	url := "http://" + listener.Addr().String()
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("status %d", answer.StatusCode)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if _, err := client.Get(url); err == nil {
		t.Error("it still answers after Run returned")
	}
}
