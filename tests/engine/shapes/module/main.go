// A program small enough that compiling all of it, the runtime included, takes seconds.
package main

import "example.test/shapes/greet"

// version is set by the linker in some shapes.
var version = "none"

func main() {
	println(greet.Text(), version)
}
