// Package shared is a part of both services. It needs no package that takes long to compile.
package shared

import "syscall"

const number = "1"

// Serve answers every request with text and the number of this package.
func Serve(text string) {
	listener, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		panic(err)
	}
	syscall.SetsockoptInt(listener, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	if err := syscall.Bind(listener, &syscall.SockaddrInet4{Port: 8080}); err != nil {
		panic(err)
	}
	if err := syscall.Listen(listener, 64); err != nil {
		panic(err)
	}
	for {
		connection, _, err := syscall.Accept(listener)
		if err != nil {
			continue
		}
		go answer(connection, text)
	}
}

func answer(connection int, text string) {
	defer syscall.Close(connection)
	if n, err := syscall.Read(connection, make([]byte, 4096)); err != nil || n == 0 {
		return
	}
	syscall.Write(connection, []byte("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+text+" shared "+number))
	syscall.Shutdown(connection, syscall.SHUT_WR)
	syscall.Read(connection, make([]byte, 4096))
}
