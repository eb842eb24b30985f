package main

import "example.test/c/number"

func main() {
	println(number.Value())
}
