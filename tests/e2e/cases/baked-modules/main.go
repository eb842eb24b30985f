package main

import (
	"fmt"
	"log"
	"net/http"

	"example.internal/priv"
)

const save = "one"

var version = "unset"

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "save=%s %s version=%s\n", save, priv.Hello(), version)
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
