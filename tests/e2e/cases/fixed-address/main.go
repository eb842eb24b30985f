package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
)

const save = "one"

func main() {
	addresses, _ := net.InterfaceAddrs()
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "save="+save, addresses) })
	log.Fatal(http.ListenAndServe(":8080", nil))
}
