package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"example.com/shared"
)

const save = "one"

func read(name string) string {
	content, err := os.ReadFile(name)
	if err != nil {
		return err.Error()
	}
	return string(content)
}

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "save=%s %s\n", save, shared.Hello())
		fmt.Fprintf(w, "MODE=%s GONE=%s\n", os.Getenv("MODE"), os.Getenv("GONE"))
		fmt.Fprintf(w, "config %stoken %s\n", read("/etc/app.yaml"), read("/run/secrets/token"))
	})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
