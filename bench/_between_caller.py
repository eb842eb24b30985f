"""The program of the service `caller` of bench/between.py: six clients of Go's net/http."""

CALLER = """\
package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

type client struct {
	Requests, Failed int
	Worst            float64            // seconds
	Errors           map[string]int
	First            map[string]float64 // Unix time of the first answer of each version
}

var (
	lock    sync.Mutex
	clients = map[string]*client{}
)

func ask(url string, post, kept bool, doer *http.Client) (string, error) {
	method, body := "GET", io.Reader(nil)
	if post {
		method, body = "POST", io.LimitReader(strings.NewReader(strings.Repeat("x", 1000)), 1000)
	}
	request, err := http.NewRequest(method, url, body)
	if err != nil {
		return "", err
	}
	request.Close = !kept
	answer, err := doer.Do(request)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != 200 {
		return "", io.ErrUnexpectedEOF
	}
	return string(said), err
}

func run(name, path string, once, post, kept bool) {
	mine := &client{Errors: map[string]int{}, First: map[string]float64{}}
	url := "http://api:9000/" + path
	transport := http.DefaultTransport.(*http.Transport).Clone()
	doer := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	for { // until it is reachable for the first time
		if _, err := ask(url, false, true, doer); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if once {
		found, _ := net.LookupHost("api")
		url = "http://" + found[0] + ":9000/" + path
	}
	lock.Lock()
	clients[name] = mine
	lock.Unlock()
	for {
		begun := time.Now()
		version, err := ask(url, post, kept, doer)
		took := time.Since(begun).Seconds()
		lock.Lock()
		mine.Requests++
		mine.Worst = max(mine.Worst, took)
		if err != nil {
			mine.Failed++
			mine.Errors[err.Error()]++
		} else if mine.First[version] == 0 {
			mine.First[version] = float64(time.Now().UnixNano()) / 1e9
		}
		lock.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

func main() {
	go run("default", "", false, false, true)
	go run("new", "", false, false, false)
	go run("once", "", true, false, true)
	go run("once, new", "", true, false, false)
	go run("post", "", false, true, true)
	go run("slow", "slow", true, false, true)
	http.ListenAndServe(":9000", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lock.Lock()
		defer lock.Unlock()
		json.NewEncoder(w).Encode(clients)
	}))
}
"""
CLIENTS = ("default", "new", "once", "once, new", "post", "slow")
