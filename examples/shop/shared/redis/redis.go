// Package redis is a client for the few commands that the shop needs. It has no dependencies, so the example builds
// without a module proxy.
package redis

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrNil is what a command answers when there is no value.
var ErrNil = errors.New("redis: no value")

// Client keeps one connection and opens another one after a failure.
type Client struct {
	address string
	mutex   sync.Mutex
	conn    net.Conn
	reader  *bufio.Reader
}

// New returns a client for the server at address.
func New(address string) *Client {
	return &Client{address: address}
}

// Do sends one command and returns the values of its answer.
func (c *Client) Do(words ...string) ([]string, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, 2*time.Second)
		if err != nil {
			return nil, err
		}
		c.conn, c.reader = conn, bufio.NewReader(conn)
	}
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(words))
	for _, word := range words {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(c.conn, command.String()); err != nil {
		return nil, c.drop(err)
	}
	values, err := c.read()
	var refused serverError
	if err != nil && err != ErrNil && !errors.As(err, &refused) {
		return nil, c.drop(err)
	}
	return values, err
}

type serverError string

func (e serverError) Error() string { return "redis: " + string(e) }

func (c *Client) drop(err error) error {
	c.conn.Close()
	c.conn = nil
	return err
}

func (c *Client) read() ([]string, error) {
	line, err := c.reader.ReadString('\n')
	if err != nil {
		return nil, err
	}
	kind, rest := line[0], strings.TrimSuffix(line[1:], "\r\n")
	switch kind {
	case '+', ':':
		return []string{rest}, nil
	case '-':
		return nil, serverError(rest)
	case '$':
		length, err := strconv.Atoi(rest)
		if err != nil || length < 0 {
			return nil, ErrNil
		}
		text := make([]byte, length+2)
		if _, err := io.ReadFull(c.reader, text); err != nil {
			return nil, err
		}
		return []string{string(text[:length])}, nil
	case '*':
		count, err := strconv.Atoi(rest)
		if err != nil || count < 0 {
			return nil, ErrNil
		}
		var values []string
		for range count {
			each, err := c.read()
			if err != nil && err != ErrNil {
				return nil, err
			}
			values = append(values, each...)
		}
		return values, nil
	}
	return nil, fmt.Errorf("redis: unexpected answer %q", line)
}
