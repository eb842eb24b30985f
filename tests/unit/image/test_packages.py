"""Symbols have the package that Go's own tools give them."""

import pytest

from watcher.image.packages import module_of, package_of


@pytest.mark.parametrize(
    ("symbol", "package"),
    [
        ("main.main", "main"),
        ("net/http.(*Server).Serve.func1", "net/http"),
        ("github.com/gin-gonic/gin.(*Engine).ServeHTTP-fm", "github.com/gin-gonic/gin"),
        ("gopkg.in/yaml%2ev3.(*Decoder).Decode", "gopkg.in/yaml.v3"),
        ("go.mongodb.org/mongo-driver/v2/bson..typeAssert.0", "go.mongodb.org/mongo-driver/v2/bson"),
        ("go.uber.org/zap.New", "go.uber.org/zap"),
        ("slices.SortFunc[go.shape.[]example.com/a/b.T,go.shape.int]", "slices"),
        ("example.com/a/list.(*List[go.shape.string]).Push", "example.com/a/list"),
        ("vendor/golang.org/x/net/idna..inittask", "vendor/golang.org/x/net/idna"),
        ("type:.eq.net/http.http2Frame", "net/http"),
        ("type:.eq.[2]example.com/a.Key", "example.com/a"),
        ("type..hash.net/url.Userinfo", "net/url"),
        ("type:.eq.[2]interface {}", "(generated)"),
        ("type:.eq.struct { example.com/a.x int }", "(generated)"),
        ("go.shape.struct { net/netip.isV6 bool }.M", "(generated)"),
        ("go:itab.*net/http.response,net/http.ResponseWriter", "net/http"),
        ("go:itab.*os.File,io.Writer", "os"),
        ("go:string.*", "(strings)"),
        ("go.string.*", "(strings)"),
        ("go:func.*", "(stack maps)"),
        ("type:*", "(types)"),
        ("runtime.rodata", "runtime"),
        ("malloc", "(C code)"),
        ("", "(C code)"),
        (".L1", "(generated)"),
    ],
)
def test_a_symbol_has_its_package(symbol: str, package: str) -> None:
    assert package_of(symbol) == package


@pytest.mark.parametrize(
    ("package", "module"),
    [
        ("main", "go-server"),
        ("go-server/internal/version", "go-server"),
        ("github.com/x/y/z", "github.com/x/y"),
        ("github.com/x/y/v2/z", "github.com/x/y/v2"),
        ("github.com/x/yy", "github.com/x/yy"),
        ("net/http", "std"),
        ("vendor/golang.org/x/net/idna", "std"),
        ("(strings)", "(shared)"),
    ],
)
def test_a_package_belongs_to_the_module_with_the_longest_path(package: str, module: str) -> None:
    assert module_of(package, ["github.com/x/y", "github.com/x/y/v2", "go-server"], "go-server") == module
