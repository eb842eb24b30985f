// Package number reads its value from a header outside its folder, which go's build cache does not look at.
package number

// #cgo CFLAGS: -I${SRCDIR}/../include
// #include <number.h>
import "C"

// Value returns it.
func Value() int { return int(C.NUMBER) }
