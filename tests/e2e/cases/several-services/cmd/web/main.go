package main

import "example.internal/several/shared"

func main() {
	shared.Serve("web one")
}
