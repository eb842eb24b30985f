// The migration of the shop: it prepares the database and ends. It may run again at any time.
package main

import (
	"log"

	"example.com/shop/shared/orders"
)

const version = "1"

func main() {
	db := orders.Connect()
	for _, command := range [][]string{
		{"HSET", orders.Products, "tea", "3", "coffee", "4"},
		{"SETNX", orders.Done, "0"},
		{"SET", orders.Version, version},
	} {
		if _, err := db.Do(command...); err != nil {
			log.Fatalf("%s: %v", command[0], err)
		}
	}
	log.Printf("the database has version %s", version)
}
