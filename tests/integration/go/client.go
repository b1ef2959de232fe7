// Go's own client, net/http, over TLS with HTTP/2, and without it: what it makes of our answers.
//
//	client CA-FILE BASE-URL
//
// Says "all" when everything was as it should be; exits with 1 and what was not, otherwise.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var base string

func check(good bool, what string, more ...any) {
	if !good {
		fmt.Println("not so:", what, fmt.Sprint(more...))
		os.Exit(1)
	}
}

func fine(err error, what string) {
	check(err == nil, what, err)
}

func line(content []byte) string {
	return fmt.Sprintf("content %d %x", len(content), sha256.Sum256(content))
}

// A client of its own, and how many connections it has dialled.
func client(roots *x509.CertPool, version uint16, h2 bool) (*http.Client, *int64) {
	dialled := new(int64)
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: version, MaxVersion: version},
		ForceAttemptHTTP2:   h2,
		MaxIdleConnsPerHost: 8,
		MaxConnsPerHost:     8,
	}
	if !h2 {
		transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}, dialled
}

func ask(c *http.Client, dialled *int64, method, path string, body io.Reader) (*http.Response, []byte, error) {
	request, err := http.NewRequest(method, base+path, body)
	fine(err, path)
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if !i.Reused {
			atomic.AddInt64(dialled, 1)
		}
	}}
	answer, err := c.Do(request.WithContext(httptrace.WithClientTrace(request.Context(), trace)))
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	content, err := io.ReadAll(answer.Body)
	return answer, content, err
}

func speak(roots *x509.CertPool, version uint16, name string, h2 bool) {
	c, dialled := client(roots, version, h2)
	protocol := map[bool]string{true: "HTTP/2.0", false: "HTTP/1.1"}[h2]
	get := func(path string) (*http.Response, []byte) {
		answer, content, err := ask(c, dialled, "GET", path, nil)
		fine(err, path)
		return answer, content
	}
	answer, content := get("/hello")
	check(answer.Proto == protocol && string(content) == name+" localhost", "hello", answer.Proto, string(content))

	answer, content = get("/files/big")
	check(len(content) == 3000000 && answer.ContentLength == 3000000, "a large file", len(content))
	answer, _, err := ask(c, dialled, "HEAD", "/files/big", nil)
	check(err == nil && answer.ContentLength == 3000000, "its head", err)
	answer, _ = get("/files/none")
	check(answer.StatusCode == 404, "none", answer.Status)

	big := make([]byte, 1<<20)
	rand.Read(big)
	_, content, err = ask(c, dialled, "PUT", "/aio/up", bytes.NewReader(big))
	check(err == nil && strings.HasSuffix(string(content), line(big)), "content of a length", err)
	// Of a length it does not know, with trailers.
	r, w := io.Pipe()
	go func() {
		for i := 0; i < 256; i++ {
			w.Write(big[i<<12 : (i+1)<<12])
		}
		w.Close()
	}()
	request, _ := http.NewRequest("POST", base+"/aio/up", struct{ io.Reader }{r})
	request.Trailer = http.Header{"X-Sum": {"1"}}
	answer, err = c.Do(request)
	fine(err, "content of no length")
	content, err = io.ReadAll(answer.Body)
	check(err == nil && strings.HasSuffix(string(content), line(big)), "content of no length", string(content))

	// Many at once.
	var wait sync.WaitGroup
	for i := 0; i < 200; i++ {
		wait.Add(1)
		go func(i int) {
			defer wait.Done()
			text := []byte(strings.Repeat(fmt.Sprint(i), 100))
			_, content, err := ask(c, dialled, "POST", fmt.Sprintf("/aio/%d", i), bytes.NewReader(text))
			check(err == nil && strings.HasSuffix(string(content), line(text)), "one of many", i, err)
		}(i)
	}
	wait.Wait()
	if h2 { // more streams than one connection takes: then there are two, and not one each
		check(atomic.LoadInt64(dialled) <= 4, "connections", *dialled)
	} else {
		check(atomic.LoadInt64(dialled) <= 9, "connections", *dialled)
	}

	// It leaves in the middle of an answer, and of a question.
	context, cancel := context.WithCancel(context.Background())
	request, _ = http.NewRequestWithContext(context, "GET", base+"/files/big", nil)
	answer, err = c.Do(request)
	fine(err, "what it leaves")
	io.ReadFull(answer.Body, make([]byte, 100000))
	cancel()
	_, err = io.ReadAll(answer.Body)
	check(err != nil, "it has left")
	answer.Body.Close()
	request, _ = http.NewRequest("POST", base+"/aio/up", io.MultiReader(bytes.NewReader(big[:100000]), failing{}))
	_, err = c.Do(request)
	check(err != nil, "a question without an end")
	_, content = get("/hello")
	check(string(content) == name+" localhost", "and it goes on")
	c.CloseIdleConnections()
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("on purpose") }

func main() {
	pem, err := os.ReadFile(os.Args[1])
	fine(err, "the CA")
	roots := x509.NewCertPool()
	check(roots.AppendCertsFromPEM(pem), "the CA")
	base = os.Args[2]
	for _, h2 := range []bool{true, false} {
		speak(roots, tls.VersionTLS13, "TLSv1.3", h2)
		speak(roots, tls.VersionTLS12, "TLSv1.2", h2)
	}
	fmt.Println("all")
}
