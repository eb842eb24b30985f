"""An image explained: its layers and files, and what is inside each Go binary.

- `read`: streams an image out of the engine. `visible_tree`: which files later layers hide.
- `go_binary`: the parts of a Go binary, which add up to the file. `go_layout` divides its bytes with `elf`,
  `pclntab`, `embedded` and `packages`; `build_info` reads how it was built.
- `summary`, `compare`: flat lists of sizes, and the difference of two images.
- `report`: text, Markdown and JSON. `process`: a summary made in a process of its own.

Nothing is imported here: a daemon needs summaries, but no reader of binaries.
"""
