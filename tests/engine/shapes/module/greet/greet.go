// Package greet holds the text that the tests change.
package greet

// Text returns it.
func Text() string { return "hello" }
