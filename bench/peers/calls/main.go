// SPDX-License-Identifier: ISC

// Calls is the bench's caller, and the floor below all request and reply over Kafka: produce, consume, produce, consume.
//
//	calls floor REQUESTS REPLIES WARM COUNT IN-FLIGHT       a caller in this process
//	calls serve REQUESTS                                    its service; prints "ready"
//	calls drive WARM COUNT IN-FLIGHT COMMAND…               a command that takes records and prints their replies
//
// A caller keeps IN-FLIGHT calls on their way, WARM + COUNT of them in all, and measures those behind the first WARM. It prints
// one JSON object; cpu_s is the processor time of COUNT calls, of the command if there is one. Crossed: replies whose payload
// is not that of their call, which may come back in capitals, as Spring's service in the tests has it; the first is told.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

const patience = 2 * time.Minute

var ctx = context.Background()

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func number(s string) int { return must(strconv.Atoi(s)) }

func payload(n int) string { return fmt.Sprintf("call-%015d", n) }

func payloadNumber(p []byte) int {
	if len(p) != 20 || !bytes.EqualFold(p[:5], []byte("call-")) {
		return -1
	}
	n, err := strconv.Atoi(string(p[5:]))
	if err != nil {
		return -1
	}
	return n
}

// ---- the loop of a caller ----

type loop struct {
	warm, total   int
	sent          []time.Time
	latency       []time.Duration
	done, crossed int
	begun, ended  time.Time
	cpuAt         func() float64
	cpu           float64
	send          func(n int)
	next          int
	finished      chan struct{}
	guard         sync.Mutex
}

func newLoop(warm, count int, cpuAt func() float64) *loop {
	return &loop{warm: warm, total: warm + count, sent: make([]time.Time, warm+count),
		cpuAt: cpuAt, finished: make(chan struct{})}
}

func (l *loop) start(inFlight int) {
	l.guard.Lock()
	defer l.guard.Unlock()
	l.begun = time.Now()
	for range min(inFlight, l.total) {
		l.sendNext()
	}
}

func (l *loop) sendNext() {
	n := l.next
	l.next++
	l.sent[n] = time.Now()
	l.send(n)
}

// reply is told of each reply: whose it is, and what it says.
func (l *loop) reply(n int, said []byte) {
	now := time.Now()
	l.guard.Lock()
	defer l.guard.Unlock()
	if n < 0 || n >= l.next || payloadNumber(said) != n {
		if l.crossed++; l.crossed == 1 {
			log.Printf("call %d got the reply %.100q", n, said)
		}
		return
	}
	l.done++
	if l.done == l.warm {
		l.begun = now
		l.cpu = l.cpuAt()
	}
	if l.done > l.warm {
		l.latency = append(l.latency, now.Sub(l.sent[n]))
	}
	if l.done == l.total {
		l.ended = now
		l.cpu = l.cpuAt() - l.cpu
		close(l.finished)
	} else if l.next < l.total {
		l.sendNext()
	}
}

func (l *loop) report() {
	select {
	case <-l.finished:
	case <-time.After(patience):
		log.Printf("%d of %d calls are over after %v", l.done, l.total, patience)
		l.guard.Lock()
		l.ended = time.Now()
	}
	slices.Sort(l.latency)
	at := func(share float64) float64 {
		if len(l.latency) == 0 {
			return 0
		}
		return float64(l.latency[int(share*float64(len(l.latency)-1))].Microseconds()) / 1000
	}
	fmt.Printf("%s\n", must(json.Marshal(map[string]any{
		"count": len(l.latency), "crossed": l.crossed, "seconds": l.ended.Sub(l.begun).Seconds(),
		"p50_ms": at(0.5), "p99_ms": at(0.99), "cpu_s": l.cpu})))
}

// ---- the floor ----

func client(opts ...kgo.Opt) *kgo.Client {
	return must(kgo.NewClient(append(opts, kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")),
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(100000))...))
}

// atEnd consumes what comes from now on.
func atEnd(topic string) kgo.Opt {
	c := client()
	defer c.Close()
	ends := must(kadm.NewClient(c).ListEndOffsets(ctx, topic))
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Err != nil {
			log.Fatal(o.Err)
		}
		from[o.Partition] = kgo.NewOffset().At(o.Offset)
	})
	return kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})
}

func header(r *kgo.Record, key string) []byte {
	for _, h := range r.Headers {
		if h.Key == key {
			return h.Value
		}
	}
	return nil
}

func produced(_ *kgo.Record, err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func serve(topic string) {
	c := client(atEnd(topic))
	fmt.Println("ready")
	for {
		c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			c.Produce(ctx, &kgo.Record{Topic: string(header(r, "reply-to")), Value: r.Value,
				Headers: []kgo.RecordHeader{{Key: "correlation-id", Value: header(r, "correlation-id")}}}, produced)
		})
	}
}

func ownCPU() float64 {
	var u unix.Rusage
	must(0, unix.Getrusage(unix.RUSAGE_SELF, &u))
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

func floor(requests, replies string, warm, count, inFlight int) {
	c := client(atEnd(replies))
	l := newLoop(warm, count, ownCPU)
	l.send = func(n int) {
		id := make([]byte, 16)
		binary.BigEndian.PutUint64(id[8:], uint64(n))
		c.Produce(ctx, &kgo.Record{Topic: requests, Value: []byte(payload(n)),
			Headers: []kgo.RecordHeader{{Key: "correlation-id", Value: id}, {Key: "reply-to", Value: []byte(replies)}}}, produced)
	}
	go func() {
		for {
			c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
				if id := header(r, "correlation-id"); len(id) == 16 {
					l.reply(int(binary.BigEndian.Uint64(id[8:])), r.Value)
				}
			})
		}
	}()
	l.start(inFlight)
	l.report()
}

// ---- a command ----

// cpuOf is that of a process and of those that it has started: evcorr and its kwrite.
func cpuOf(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+2:])
	ticks := number(string(fields[11])) + number(string(fields[12]))
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	sum := float64(ticks) / 100
	for _, child := range bytes.Fields(children) {
		sum += cpuOf(number(string(child)))
	}
	return sum
}

// between returns what stands in text behind a mark, up to the next quote.
func between(text []byte, mark string) []byte {
	at := bytes.Index(text, []byte(mark))
	if at < 0 {
		return nil
	}
	text = text[at+len(mark):]
	return text[:max(0, bytes.IndexByte(text, '"'))]
}

func drive(warm, count, inFlight int, command []string) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stderr = os.Stderr
	in := must(cmd.StdinPipe())
	out := must(cmd.StdoutPipe())
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	l := newLoop(warm, count, func() float64 { return cpuOf(cmd.Process.Pid) })
	// The number stands in the seq, which a reply has from its request, and in the payload, which the service sends back.
	queue := make(chan int, warm+count)
	l.send = func(n int) { queue <- n }
	go func() {
		w := bufio.NewWriter(in)
		for n := range queue {
			fmt.Fprintf(w, `{"seq":"0123456789abcdef:%d","payload":"%s"}`+"\n", n+1, payload(n))
			if len(queue) == 0 {
				w.Flush()
			}
		}
	}()
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			n, err := strconv.Atoi(string(between(lines.Bytes(), `"seq":"0123456789abcdef:`)))
			if err != nil {
				n = 0
			}
			l.reply(n-1, between(lines.Bytes(), `"payload":"`))
		}
	}()
	l.start(inFlight)
	l.report()
	in.Close()
	cmd.Wait()
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("calls: ")
	args := os.Args[1:]
	switch {
	case len(args) == 6 && args[0] == "floor":
		floor(args[1], args[2], number(args[3]), number(args[4]), number(args[5]))
	case len(args) == 2 && args[0] == "serve":
		serve(args[1])
	case len(args) > 4 && args[0] == "drive":
		drive(number(args[1]), number(args[2]), number(args[3]), args[4:])
	default:
		log.Fatal("usage: see main.go")
	}
}
