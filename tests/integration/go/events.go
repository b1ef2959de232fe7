// The One Million Request Challenge's pattern with Go's own client: a thousand goroutines
// post events and close each answer's body unread, so that a connection is used again only
// when its head promised none.
//
//	events BASE-URL EVENTS CONNECTIONS
//
// Prints one JSON line: what was answered, and how many connections it took.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

func main() {
	url := os.Args[1] + "/event"
	events, _ := strconv.Atoi(os.Args[2])
	connections, _ := strconv.Atoi(os.Args[3])
	var next, dialled, answered, failed int64
	dialer := &net.Dialer{}
	transport := &http.Transport{
		MaxIdleConns: connections, MaxIdleConnsPerHost: connections, MaxConnsPerHost: connections,
		Dial: func(network, address string) (net.Conn, error) {
			atomic.AddInt64(&dialled, 1)
			return dialer.Dial(network, address)
		},
	}
	client := &http.Client{Transport: transport, Timeout: 30 * time.Second}
	began := time.Now()
	var wait sync.WaitGroup
	for i := 0; i < connections; i++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for {
				n := atomic.AddInt64(&next, 1) - 1
				if n >= int64(events) {
					return
				}
				body, _ := json.Marshal(map[string]any{"userId": fmt.Sprintf("user_%d", n%75000), "value": float64(n%1000) + 0.5})
				answer, err := client.Post(url, "application/json", bytes.NewReader(body))
				if err != nil {
					atomic.AddInt64(&failed, 1)
					continue
				}
				answer.Body.Close()
				if answer.StatusCode == 200 {
					atomic.AddInt64(&answered, 1)
				} else {
					atomic.AddInt64(&failed, 1)
				}
			}
		}()
	}
	wait.Wait()
	json.NewEncoder(os.Stdout).Encode(map[string]any{"answered": answered, "failed": failed,
		"dialled": dialled, "seconds": time.Since(began).Seconds()})
}
