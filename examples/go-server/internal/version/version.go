// Package version holds the one line that a demonstration edits.
package version

// Number is what GET /health reports as "version". Change it, save, and ask again.
var Number = "1.0.0"
