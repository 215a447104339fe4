// SPDX-License-Identifier: ISC

// Bridge is the peer the C pipelines are measured beside: one Go process a direction, on the
// fastest clients known (franz-go, go-redis), written to be as quick as its promises allow.
//
//	bridge forward -g GROUP TOPIC              Kafka -> PUBLISH sse:TOPIC, verbatim
//	bridge reverse [-full [-json]] PATTERN     PSUBSCRIBE -> the topic named after "sse:"
//	bridge apply -g GROUP [-n N] [-sync] TOPIC Kafka -> SET of the record's key, N a pipeline
//	bridge read -g GROUP [-n N] STREAM         N entries of a stream -> lines of JSON, XACK of each thousand
//
// Forward publishes up to 1,000 records a pipeline, marks them when Redis has answered, and commits
// marked records in the background once a second. Reverse produces asynchronously with acks=all,
// idempotence and a linger of 2 ms; -full adds what the bridge of evstamp and evkey does: drops
// records of source nas-worker, stamps source cloud-run-api in place, takes the key from tenantId.
// Apply commits in the background what Redis has answered, with -sync after each pipeline; it has no positions in
// Redis, and ends at an error.
// With -json the same is done with encoding/json, as most would write it: the object is decoded, its
// values left as they are, and encoded again, its members in another order.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/tidwall/gjson"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	prefix    = "sse:"
	batch     = 1000
	dropped   = "nas-worker"
	stamp     = "cloud-run-api"
	subBuffer = 100_000
)

func forward(ctx context.Context, group, topic string, rdb *redis.Client) error {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(time.Second),
		kgo.BlockRebalanceOnPoll(),
	)
	if err != nil {
		return err
	}
	defer func() {
		_ = cl.CommitMarkedOffsets(context.Background())
		cl.CloseAllowingRebalance()
	}()
	pending := make([]*kgo.Record, 0, batch)
	pipe := rdb.Pipeline()
	flush := func() error {
		if len(pending) == 0 {
			return nil
		}
		if _, err := pipe.Exec(context.Background()); err != nil {
			return err
		}
		cl.MarkCommitRecords(pending...)
		pending = pending[:0]
		return nil
	}
	channel := prefix + topic
	for {
		cl.AllowRebalance()
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			pipe.Publish(ctx, channel, r.Value)
			if pending = append(pending, r); len(pending) == batch {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err := flush(); err != nil {
			return err
		}
	}
}

// apply is forward with SET in place of PUBLISH, and commits as asked.
func apply(ctx context.Context, group, topic string, n int, sync bool, rdb *redis.Client) error {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.AutoCommitMarks(),
		kgo.AutoCommitInterval(time.Second),
		kgo.BlockRebalanceOnPoll(),
	)
	if err != nil {
		return err
	}
	defer func() {
		_ = cl.CommitMarkedOffsets(context.Background())
		cl.CloseAllowingRebalance()
	}()
	pending := make([]*kgo.Record, 0, n)
	pipe := rdb.Pipeline()
	flush := func() error {
		if len(pending) == 0 {
			return nil
		}
		if _, err := pipe.Exec(context.Background()); err != nil {
			return err
		}
		if sync {
			if err := cl.CommitRecords(context.Background(), pending...); err != nil {
				return err
			}
		}
		cl.MarkCommitRecords(pending...)
		pending = pending[:0]
		return nil
	}
	for {
		cl.AllowRebalance()
		fetches := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			pipe.Do(ctx, "SET", r.Key, r.Value)
			if pending = append(pending, r); len(pending) == n {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err := flush(); err != nil {
			return err
		}
	}
}

var (
	errJSON = errors.New("json-decode")
	errKey  = errors.New("missing-key")
)

// convert returns the record's key and stamped payload; both nil when the record is to be dropped.
func convert(payload string) (key, value []byte, err error) {
	if !gjson.Valid(payload) || !strings.HasPrefix(payload, "{") {
		return nil, nil, errJSON
	}
	source := gjson.Get(payload, "source")
	if source.Str == dropped {
		return nil, nil, nil
	}
	tenant := gjson.Get(payload, "tenantId")
	if !tenant.Exists() || tenant.Type == gjson.Null || tenant.IsObject() || tenant.IsArray() {
		return nil, nil, errKey
	}
	value = make([]byte, 0, len(payload)+len(stamp)+len(`"source":"",`))
	if source.Exists() {
		value = append(value, payload[:source.Index]...)
		value = strconv.AppendQuote(value, stamp)
		value = append(value, payload[source.Index+len(source.Raw):]...)
	} else {
		value = append(value, `{"source":"`+stamp+`",`...)
		value = append(value, payload[1:]...)
	}
	return []byte(tenant.String()), value, nil
}

// convertJSON is convert by the standard library.
func convertJSON(payload string) (key, value []byte, err error) {
	var members map[string]json.RawMessage
	var source, tenant string
	if json.Unmarshal([]byte(payload), &members) != nil || members == nil {
		return nil, nil, errJSON
	}
	if json.Unmarshal(members["source"], &source) == nil && source == dropped {
		return nil, nil, nil
	}
	if json.Unmarshal(members["tenantId"], &tenant) != nil {
		return nil, nil, errKey
	}
	members["source"] = json.RawMessage(strconv.Quote(stamp))
	value, err = json.Marshal(members)
	return []byte(tenant), value, err
}

type converter func(payload string) (key, value []byte, err error)

func reverse(ctx context.Context, pattern string, convert converter, rdb *redis.Client) error {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(os.Getenv("KAFKA_BROKERS")),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(2*time.Millisecond),
		kgo.ProducerBatchCompression(kgo.NoCompression()), // as librdkafka's default
		kgo.MaxBufferedRecords(subBuffer),
	)
	if err != nil {
		return err
	}
	defer cl.Close()
	defer cl.Flush(context.Background())
	sub := rdb.PSubscribe(ctx, pattern)
	defer sub.Close()
	messages := sub.Channel(redis.WithChannelSize(subBuffer))
	done := func(r *kgo.Record, err error) {
		if err != nil {
			log.Printf("%s: %v", r.Topic, err)
		}
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-messages:
			r := &kgo.Record{Topic: strings.TrimPrefix(m.Channel, prefix)}
			if convert == nil {
				r.Value = []byte(m.Payload)
			} else if r.Key, r.Value, err = convert(m.Payload); err != nil {
				log.Printf("%s: %v", m.Channel, err)
				continue
			} else if r.Value == nil {
				continue
			}
			cl.Produce(context.Background(), r, done)
		}
	}
}

// read acknowledges what it has printed, a thousand entries a command.
func read(ctx context.Context, group, stream string, count int, rdb *redis.Client) error {
	out := bufio.NewWriterSize(os.Stdout, 64<<10)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for count > 0 {
		got, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{Group: group, Consumer: "c", Streams: []string{stream, ">"},
			Count: 1000, Block: time.Second}).Result()
		if err == redis.Nil {
			continue
		} else if err != nil {
			return err
		}
		ids := make([]string, 0, 1000)
		for _, m := range got[0].Messages {
			payload, _ := m.Values["payload"].(string)
			if err := encoder.Encode(entry{stream, m.ID, payload}); err != nil {
				return err
			}
			ids = append(ids, m.ID)
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if err := rdb.XAck(ctx, stream, group, ids...).Err(); err != nil {
			return err
		}
		count -= len(ids)
	}
	return nil
}

type entry struct {
	Stream  string `json:"stream"`
	ID      string `json:"id"`
	Payload string `json:"payload"`
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("usage: bridge forward|reverse|apply|read [option…] TOPIC|PATTERN")
	}
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	group := flags.String("g", "bridge", "consumer group")
	full := flags.Bool("full", false, "drop by source, stamp source, key by tenantId")
	n := flags.Int("n", 10000, "apply: records a pipeline; read: records")
	sync := flags.Bool("sync", false, "apply: commit after each pipeline")
	std := flags.Bool("json", false, "with -full: by encoding/json")
	flags.Parse(os.Args[2:])
	opt, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		log.Fatal(err)
	}
	rdb := redis.NewClient(opt)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	switch os.Args[1] {
	case "forward":
		err = forward(ctx, *group, flags.Arg(0), rdb)
	case "read":
		err = read(ctx, *group, flags.Arg(0), *n, rdb)
	case "apply":
		err = apply(ctx, *group, flags.Arg(0), *n, *sync, rdb)
	default:
		var how converter
		if *full {
			how = convert
		}
		if *full && *std {
			how = convertJSON
		}
		err = reverse(ctx, flags.Arg(0), how, rdb)
	}
	if err != nil {
		log.Fatal(err)
	}
}
