package main

import (
	"fmt"
	"log"
	"net/http"
)

const save = "one"

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "save=%s %s\n", save, extra()) })
	log.Fatal(http.ListenAndServe(":8080", nil))
}
