package main

import "example.internal/several/shared"

func main() {
	shared.Serve("api one")
}
