module example.internal/several

go 1.21
