// The API of the shop: it lists products and takes orders.
package main

import (
	"encoding/json"
	"log"
	"net/http"

	"example.com/shop/shared/orders"
)

func main() {
	db := orders.Connect()

	answer := func(w http.ResponseWriter, words ...string) {
		values, err := db.Do(words...)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(values)
	}
	http.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, "PING") })
	http.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) { answer(w, "GET", orders.Version) })
	http.HandleFunc("GET /products", func(w http.ResponseWriter, _ *http.Request) { answer(w, "HGETALL", orders.Products) })
	http.HandleFunc("GET /done", func(w http.ResponseWriter, _ *http.Request) { answer(w, "GET", orders.Done) })
	http.HandleFunc("POST /orders/{product}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, "LPUSH", orders.Waiting, r.PathValue("product"))
	})
	log.Fatal(http.ListenAndServe(":9000", nil))
}
