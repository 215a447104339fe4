// SPDX-License-Identifier: ISC

// Tessera, a server of such logs, as a judge of evchain's trees and as a peer in the bench.
//
//	tessera fsck VKEY DIR     its own check of a log: head, tiles, and entry bundles as "reader bundles" makes them
//	tessera append KEY DIR    a log of the lines on standard input; prints their number and the seconds
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/api"
	"github.com/transparency-dev/tessera/client"
	"github.com/transparency-dev/tessera/fsck"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
)

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "tessera: "+format+"\n", args...)
	os.Exit(1)
}

func must[T any](value T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return value
}

func leaves(bundle []byte) ([][]byte, error) {
	var b api.EntryBundle
	if err := b.UnmarshalText(bundle); err != nil {
		return nil, err
	}
	var out [][]byte
	for _, entry := range b.Entries {
		out = append(out, rfc6962.DefaultHasher.HashLeaf(entry))
	}
	return out, nil
}

func check(vkey, dir string) {
	key := must(note.NewVerifier(vkey))
	// A worker that has found something ends, and without another one the check never does: more than a test's log has tiles.
	f := fsck.New(key.Name(), key, &client.FileFetcher{Root: dir}, leaves, fsck.Opts{N: 1000})
	if err := f.Check(context.Background()); err != nil {
		fail("%v", err)
	}
}

// 4,096 entries on their way, batches of 256 or what 100 ms bring; an entry counts once it has its place, which is when it
// is on the disk.
func add(skey, dir string) {
	ctx := context.Background()
	driver := must(posix.New(ctx, posix.Config{Path: dir}))
	appender, shutdown, reader, err := tessera.NewAppender(ctx, driver, tessera.NewAppendOptions().
		WithCheckpointSigner(must(note.NewSigner(skey))).
		WithBatching(256, 100*time.Millisecond).
		WithCheckpointInterval(time.Second))
	if err != nil {
		fail("%v", err)
	}
	futures := make(chan tessera.IndexFuture, 4096)
	done := make(chan tessera.Index)
	go func() {
		var last tessera.Index
		for f := range futures {
			last = must(f())
		}
		done <- last
	}()
	begun := time.Now()
	n := 0
	for in := bufio.NewScanner(os.Stdin); in.Scan(); n++ {
		futures <- appender.Add(ctx, tessera.NewEntry(append([]byte(nil), in.Bytes()...)))
	}
	close(futures)
	last := <-done
	fmt.Println(n, time.Since(begun).Seconds())
	await := tessera.NewPublicationAwaiter(ctx, reader.ReadCheckpoint, 50*time.Millisecond)
	if _, _, err := await.Await(ctx, func() (tessera.Index, error) { return last, nil }); err != nil {
		fail("%v", err)
	}
	if err := shutdown(ctx); err != nil {
		fail("%v", err)
	}
}

func main() {
	a := os.Args[1:]
	switch {
	case len(a) == 3 && a[0] == "fsck":
		check(a[1], a[2])
	case len(a) == 3 && a[0] == "append":
		add(a[1], a[2])
	default:
		fail("see the head of main.go")
	}
}
