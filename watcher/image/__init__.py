"""An image explained: its layers and files, and what is inside each Go binary.

- `read`: streams an image out of the engine. `visible_tree`: which files later layers hide.
- `go_binary`: the parts of a Go binary, which add up to the file. `go_layout` divides its bytes with `elf`,
  `pclntab`, `embedded` and `packages`; `build_info` reads how it was built.
- `components`, `compare`: flat lists of sizes, and the difference of two images.
- `report`: text, Markdown and JSON.
"""

from watcher.image.compare import ImageComparison, SizeChange, compare_images
from watcher.image.components import largest_components, sum_components
from watcher.image.elf import UnreadableBinary
from watcher.image.go_binary import GoBinary, explain_binary
from watcher.image.model import ImageContent
from watcher.image.read import ImageReader

__all__ = [
    "GoBinary",
    "ImageComparison",
    "ImageContent",
    "ImageReader",
    "SizeChange",
    "UnreadableBinary",
    "compare_images",
    "explain_binary",
    "largest_components",
    "sum_components",
]
