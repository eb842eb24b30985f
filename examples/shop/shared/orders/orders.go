// Package orders is what the services of the shop share: where orders wait and where they are counted.
package orders

import (
	"os"

	"example.com/shop/shared/redis"
)

// Keys of the database.
const (
	Version  = "shop:version"  // set by the migration
	Products = "shop:products" // a hash: name to price
	Waiting  = "shop:waiting"  // a list: orders that no worker has taken
	Done     = "shop:done"     // a number: orders that were carried out
)

// Connect returns a client for the database that REDIS names.
func Connect() *redis.Client {
	address := os.Getenv("REDIS")
	if address == "" {
		address = "localhost:6379"
	}
	return redis.New(address)
}
