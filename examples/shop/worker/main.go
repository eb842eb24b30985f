// The worker of the shop: it carries out the orders that the API has taken.
package main

import (
	"log"
	"time"

	"example.com/shop/shared/orders"
)

func main() {
	db := orders.Connect()
	for {
		found, err := db.Do("BRPOP", orders.Waiting, "1")
		if err != nil || len(found) < 2 {
			if err != nil && len(found) == 0 {
				time.Sleep(100 * time.Millisecond)
			}
			continue
		}
		log.Printf("carrying out an order of %s", found[1])
		if _, err := db.Do("INCR", orders.Done); err != nil {
			log.Printf("not counted: %v", err)
		}
	}
}
