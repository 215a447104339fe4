// SPDX-License-Identifier: ISC

// Probe is the bench's load and its witness.
//
//	probe gen N SOURCE                events as "TENANT<TAB>EVENT" lines; their bytes on stderr
//	probe resp CHANNEL N SOURCE       the same events as PUBLISH commands, then the padding
//	probe count CHANNEL N             subscribe and count N messages
//	probe landed TOPIC N              wait for N new records; told "over", read all of them back
//	probe latency forward|reverse TOPIC SAMPLES    1,000 records/s through a running bridge
//
// Count and landed say "ready" once they watch, then print one JSON object a line. Times are
// CLOCK_MONOTONIC in ns, so that the caller's clock is the same one. Whoever sees no progress for
// a minute reports what has come.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sys/unix"
)

const (
	patience = time.Minute
	settle   = 300 * time.Millisecond // after the last awaited message: is there one too many?

	// Pushes the events out of filters that hold their last block back; not counted.
	padding = 2000
	pad     = `{"pad":true,"tenantId":"pad","source":"storefront"}`
)

var ctx = context.Background()

func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}

func number(s string) int { return must(strconv.Atoi(s)) }

func now() int64 {
	var ts unix.Timespec
	must(0, unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts))
	return ts.Nano()
}

func report(v any) { fmt.Printf("%s\n", must(json.Marshal(v))) }

func kafka(opts ...kgo.Opt) *kgo.Client {
	return must(kgo.NewClient(append(opts, kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")))...))
}

func redis() net.Conn {
	return must(net.Dial("tcp", must(url.Parse(os.Getenv("REDIS_URL"))).Host))
}

// ---- the load ----

var notes = []string{
	"paid", "Grüße aus Köln", "배송 준비 완료", "with a neighbour", "再配達の依頼",
	`at the \"back\" door`, "crédit accordé ✓", "call first",
}

// event is a function of i alone: all runs see the same bytes.
func event(buf []byte, i int, source string) (tenant int, payload []byte) {
	r := (uint64(i) + 1) * 0x9E3779B97F4A7C15
	r ^= r >> 29
	tenant = int(r % 997)
	return tenant, fmt.Appendf(buf[:0], `{"id":"%016x","type":"order.paid","tenantId":"tenant-%d",`+
		`"occurredAt":"2026-11-%02dT%02d:%02d:%02dZ","seq":%d,"amount":%d.%02d,"currency":"EUR",`+
		`"source":"%s","actor":{"id":%d,"role":"clerk"},"note":"%s"}`,
		r, tenant, 1+r%28, r>>8%24, r>>16%60, r>>24%60, 9007199254740993+uint64(i),
		r>>13%5000, r>>17%100, source, r>>11%100000, notes[r>>40%uint64(len(notes))])
}

func gen(n int, source string) {
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	var payload []byte
	var tenant, sum int
	for i := range n {
		tenant, payload = event(payload, i, source)
		sum += len(payload)
		fmt.Fprintf(w, "tenant-%d\t%s\n", tenant, payload)
	}
	must(0, w.Flush())
	fmt.Fprintln(os.Stderr, sum)
}

func publish(w io.Writer, channel string, payload []byte) {
	fmt.Fprintf(w, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n",
		len(channel), channel, len(payload), payload)
}

func resp(channel string, n int, source string) {
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	var payload []byte
	for i := range n {
		_, payload = event(payload, i, source)
		publish(w, channel, payload)
	}
	for range padding {
		publish(w, channel, []byte(pad))
	}
	must(0, w.Flush())
}

// ---- the witnesses ----

// messages calls back with each message's payload, which lasts for the call; the callback says
// whether to go on. It prepares for one SUBSCRIBE reply, after which it calls ready.
func messages(conn net.Conn, channel string, ready func(), each func([]byte) bool) error {
	fmt.Fprintf(conn, "*2\r\n$9\r\nSUBSCRIBE\r\n$%d\r\n%s\r\n", len(channel), channel)
	r := bufio.NewReaderSize(conn, 1<<20)
	for range 6 { // *3 $9 subscribe $len channel :1
		if _, err := r.ReadSlice('\n'); err != nil {
			return err
		}
	}
	ready()
	head := len("*3\r\n$7\r\nmessage\r\n") + len(fmt.Sprintf("$%d\r\n%s\r\n", len(channel), channel))
	for {
		if _, err := r.Discard(head); err != nil {
			return err
		}
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		size := 0
		for _, c := range line[1 : len(line)-2] {
			size = size*10 + int(c-'0')
		}
		payload, err := r.Peek(size + 2)
		if err != nil {
			return err
		}
		if !each(payload[:size]) {
			return nil
		}
		r.Discard(size + 2)
	}
}

func count(channel string, n int) {
	conn := redis()
	var first, last int64
	var seen, sum int
	conn.SetReadDeadline(time.Now().Add(patience))
	messages(conn, channel, func() { fmt.Println("ready") }, func(payload []byte) bool {
		seen++
		sum += len(payload)
		switch {
		case seen == 1:
			first = now()
		case seen == n:
			last = now()
			conn.SetReadDeadline(time.Now().Add(settle))
		case seen%10000 == 0 && seen < n:
			conn.SetReadDeadline(time.Now().Add(patience))
		}
		return true
	})
	report(map[string]any{"count": seen, "bytes": sum, "first": first, "last": last})
}

func ends(adm *kadm.Client, topic string) (sum int64, at map[int32]kgo.Offset) {
	at = map[int32]kgo.Offset{}
	listed := must(adm.ListEndOffsets(ctx, topic))
	if err := listed.Error(); err != nil {
		log.Fatal(err)
	}
	listed.Each(func(o kadm.ListedOffset) {
		sum += o.Offset
		at[o.Partition] = kgo.NewOffset().At(o.Offset)
	})
	return sum, at
}

func landed(topic string, n int) {
	cl := kafka()
	adm := kadm.NewClient(cl)
	base, at := ends(adm, topic)
	fmt.Println("ready")
	sum, first := base, now()
	for moved := time.Now(); sum < base+int64(n) && time.Since(moved) < patience; {
		time.Sleep(10 * time.Millisecond) // asking is work for the broker too
		if s, _ := ends(adm, topic); s != sum {
			if sum == base {
				first = now()
			}
			sum, moved = s, time.Now()
		}
	}
	report(map[string]any{"landed": sum - base, "first": first, "last": now()})
	bufio.NewReader(os.Stdin).ReadString('\n')
	all, _ := ends(adm, topic)
	cl.Close()
	cl = kafka(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}))
	var size, keyed, events int64
	for seen := base; seen < all; {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			seen++
			if bytes.HasPrefix(r.Value, []byte(pad[:6])) {
				return
			}
			events++
			size += int64(len(r.Value))
			if len(r.Key) > 0 {
				keyed++
			}
		})
	}
	report(map[string]any{"count": events, "bytes": size, "keyed": keyed})
}

// ---- latency ----

// stamped is an event of the usual size that says when it was sent; 0: a warm-up, not measured.
func stamped(i int, at int64) (payload []byte) {
	_, payload = event(nil, i, "storefront")
	return append(payload[:len(payload)-1], fmt.Sprintf(`,"at":%d}`, at)...)
}

func sentAt(payload []byte) int64 {
	i := bytes.LastIndexByte(payload, ':')
	j := bytes.LastIndexByte(payload, '}')
	if i < 0 || j < i {
		return 0
	}
	at, _ := strconv.ParseInt(string(payload[i+1:j]), 10, 64)
	return at
}

func latency(direction, topic string, samples int) {
	arrived := make(chan int64, samples+1024)
	arrive := func(payload []byte) bool {
		if at := sentAt(payload); at == 0 {
			arrived <- 0
		} else {
			arrived <- now() - at
		}
		return true
	}
	watching := make(chan bool)
	var send func(i int, payload []byte)
	if direction == "forward" {
		go messages(redis(), "sse:"+topic, func() { close(watching) }, arrive)
		cl := kafka(kgo.ProducerLinger(0), kgo.ProducerBatchCompression(kgo.NoCompression()))
		send = func(i int, payload []byte) {
			r := &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "tenant-%d", i%997), Value: payload}
			cl.Produce(ctx, r, func(_ *kgo.Record, err error) { must(0, err) })
		}
	} else {
		_, at := ends(kadm.NewClient(kafka()), topic)
		cl := kafka(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}))
		go func() {
			for {
				cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { arrive(r.Value) })
			}
		}()
		close(watching)
		conn := redis()
		go io.Copy(io.Discard, conn)
		send = func(i int, payload []byte) {
			var b bytes.Buffer
			publish(&b, "sse:"+topic, payload)
			must(conn.Write(b.Bytes()))
		}
	}
	<-watching
	for begun := time.Now(); len(arrived) == 0; time.Sleep(20 * time.Millisecond) {
		if time.Since(begun) > patience {
			log.Fatal("nothing comes through")
		}
		send(0, stamped(0, 0))
	}
	const warm = 1000
	var took []int64
	tick := time.Now()
	for i := range warm + samples {
		time.Sleep(time.Until(tick.Add(time.Duration(i) * time.Millisecond)))
		var at int64
		if i >= warm {
			at = now()
		}
		send(i, stamped(i, at))
	}
	for late := time.After(5 * time.Second); len(took) < samples; {
		select {
		case ns := <-arrived:
			if ns != 0 {
				took = append(took, ns)
			}
			continue
		case <-late:
		}
		break
	}
	slices.Sort(took)
	if len(took) == 0 {
		log.Fatal("nothing measured")
	}
	ms := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))]) / 1e6 }
	report(map[string]any{"count": len(took), "p50_ms": ms(0.5), "p99_ms": ms(0.99), "max_ms": ms(1)})
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("probe: ")
	if len(os.Args) < 3 {
		log.Fatal("see the head of its source")
	}
	args := os.Args[2:]
	switch os.Args[1] {
	case "gen":
		gen(number(args[0]), args[1])
	case "resp":
		resp(args[0], number(args[1]), args[2])
	case "count":
		count(args[0], number(args[1]))
	case "landed":
		landed(args[0], number(args[1]))
	case "latency":
		latency(args[0], args[1], number(args[2]))
	default:
		log.Fatal("no such command: ", os.Args[1])
	}
}
