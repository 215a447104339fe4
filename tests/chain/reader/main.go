// SPDX-License-Identifier: ISC

// A second reader and writer of audit logs, made on Go's checksum database. It is the test of evchain, and of what
// evchain(1) says of the format: it has none of its code.
//
//	reader verify VKEY FILE             every line, tile and head; prints the number of entries
//	reader write KEY FILE N             a log of N entries
//	reader prove FILE N                 as evchain prove
//	reader check VKEY PROOF LINE-FILE   as evchain check
//	reader consistency VKEY OLD PROOF   checks what evchain consistency prints against the older head
//	reader bundles FILE DIR             the entries as bundles, DIR/tile/entries/N, as C2SP tlog-tiles has them
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8

func fail(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "reader: "+format+"\n", args...)
	os.Exit(1)
}

func must[T any](value T, err error) T {
	if err != nil {
		fail("%v", err)
	}
	return value
}

// Older releases of tlog have none of RFC 6962's for no entries.
func treeHash(n int64, r tlog.HashReader) tlog.Hash {
	if n == 0 {
		return tlog.Hash(sha256.Sum256(nil))
	}
	return must(tlog.TreeHash(n, r))
}

// Older releases of tlog name each width that a partial tile may have had in between.
func newTiles(old, size int64) []tlog.Tile {
	var out []tlog.Tile
	for _, t := range tlog.NewTiles(height, old, size) {
		if t.W == 1<<height || int64(t.W) == size>>(height*t.L)%(1<<height) {
			out = append(out, t)
		}
	}
	return out
}

type entry struct {
	N      *int64          `json:"n"`
	At     *int64          `json:"at"`
	Prev   *string         `json:"prev"`
	S      int             `json:"s"`
	Source *string         `json:"source"`
	Record json.RawMessage `json:"record"`
}

// A tile's place below FILE.tlog: Go's "tile/8/0/x001/234.p/5" without the height.
func tilePath(t tlog.Tile) string {
	return strings.Replace(t.Path(), "tile/8/", "tile/", 1)
}

// Tiles from files.
type dirReader struct{ dir string }

func (r dirReader) Height() int { return height }
func (r dirReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var out [][]byte
	for _, t := range tiles {
		data, err := os.ReadFile(filepath.Join(r.dir, tilePath(t)))
		if err != nil && t.W < 1<<height {
			full := t
			full.W = 1 << height
			data, err = os.ReadFile(filepath.Join(r.dir, tilePath(full)))
		}
		if err != nil {
			return nil, err
		}
		if len(data) < t.W*tlog.HashSize {
			return nil, fmt.Errorf("%s is short", tilePath(t))
		}
		out = append(out, data[:t.W*tlog.HashSize])
	}
	return out, nil
}
func (r dirReader) SaveTiles([]tlog.Tile, [][]byte) {}

// Hashes in memory, by Go's numbers of stored hashes.
type memory []tlog.Hash

func (m memory) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	var out []tlog.Hash
	for _, i := range indexes {
		out = append(out, m[i])
	}
	return out, nil
}

func parseHead(text string) (origin string, tree tlog.Tree) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		fail("a head has %d lines", len(lines)-1)
	}
	size := must(strconv.ParseInt(lines[1], 10, 64))
	return lines[0], tlog.Tree{N: size, Hash: must(tlog.ParseHash(lines[2]))}
}

// openHead wants the head signed by the key and named as the key.
func openHead(data []byte, key note.Verifier) tlog.Tree {
	n := must(note.Open(data, note.VerifierList(key)))
	origin, tree := parseHead(n.Text)
	if origin != key.Name() {
		fail("the head is of %q", origin)
	}
	return tree
}

// lines calls f with each line of the log, of closed segments first.
func lines(file string, f func(line []byte)) {
	names := must(filepath.Glob(file + ".*-*"))
	sort.Strings(names)
	for _, name := range append(names, file) {
		in := must(os.Open(name))
		r := bufio.NewReaderSize(in, 1<<20)
		for {
			line, err := r.ReadBytes('\n')
			if err == io.EOF && len(line) == 0 {
				break
			}
			if err != nil {
				fail("%s: a torn line: %v", name, err)
			}
			f(line[:len(line)-1])
		}
		in.Close()
	}
}

func verify(vkey, file string) {
	key := must(note.NewVerifier(vkey))
	dir := file + ".tlog"
	keyOf := map[string]note.Verifier{}
	keyOf[fmt.Sprintf("%08x", key.KeyHash())] = key
	last := key
	changes := map[int64]note.Verifier{}

	// The lines: their form, their chain.
	var all memory
	prev := base64.StdEncoding.EncodeToString(make([]byte, 32))
	var n, at int64
	lines(file, func(line []byte) {
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			fail("entry %d: %v", n, err)
		}
		if e.N == nil || *e.N != n || e.At == nil || *e.At < at || e.Prev == nil || *e.Prev != prev || e.Record == nil {
			fail("entry %d: it is not the next one", n)
		}
		if !bytes.HasPrefix(line, []byte(fmt.Sprintf(`{"n":%d,"at":%d,"prev":%q,`, n, *e.At, prev))) {
			fail("entry %d: its members have another order", n)
		}
		h := tlog.RecordHash(line)
		all = append(all, must(tlog.StoredHashesForRecordHash(n, h, all))...)
		var change struct{ Evchain, Vkey string }
		if json.Unmarshal(e.Record, &change) == nil && change.Evchain == "key" {
			changes[n] = must(note.NewVerifier(change.Vkey))
		}
		prev, at = h.String(), *e.At
		n++
	})

	// The heads: each by the key of its time, each root that of its first entries.
	text := must(os.ReadFile(filepath.Join(dir, "heads")))
	var covered int64 = -1
	for i, record := range strings.Split(strings.TrimSuffix(string(text), "\n"), "\n") {
		var r struct {
			Ts      int64
			Key     string
			Payload string
		}
		if err := json.Unmarshal([]byte(record), &r); err != nil || r.Key != key.Name() {
			fail("heads, line %d: %v", i+1, err)
		}
		for at, next := range changes {
			if at < covered {
				if _, err := note.Open([]byte(r.Payload), note.VerifierList(next)); err == nil {
					last = next
					delete(changes, at)
				}
			}
		}
		tree := openHead([]byte(r.Payload), last)
		if tree.N > n || treeHash(tree.N, all) != tree.Hash {
			fail("heads, line %d: its root is another one", i+1)
		}
		covered = tree.N
	}
	tree := openHead(must(os.ReadFile(filepath.Join(dir, "checkpoint"))), last)
	if tree.N != n {
		fail("the newest head is of %d entries, the log has %d", tree.N, n)
	}

	// The tiles, each byte of them, by way of Go's own reader of tiles, which holds them against the root.
	tiled := tlog.TileHashReader(tree, dirReader{dir})
	for i := int64(0); i < n; i += 1 + n/2000 {
		got := must(tiled.ReadHashes([]int64{tlog.StoredHashIndex(0, i)}))
		if got[0] != all[tlog.StoredHashIndex(0, i)] {
			fail("entry %d: its tile has another hash", i)
		}
	}
	for _, t := range newTiles(0, n) {
		want := must(tlog.ReadTileData(t, all))
		got := must(os.ReadFile(filepath.Join(dir, tilePath(t))))
		if !bytes.Equal(got, want) {
			fail("%s is another one", tilePath(t))
		}
	}
	fmt.Println(n)
}

func write(skey, file string, count int64) {
	signer := must(note.NewSigner(skey))
	dir := file + ".tlog"
	out := must(os.Create(file))
	w := bufio.NewWriter(out)
	var all memory
	var old int64
	prev := base64.StdEncoding.EncodeToString(make([]byte, 32))
	if err := os.MkdirAll(dir, 0o777); err != nil {
		fail("%v", err)
	}
	heads := must(os.Create(filepath.Join(dir, "heads")))
	for n := int64(0); n <= count; n++ {
		if n == count || n == count/2 {
			for _, t := range newTiles(old, n) {
				path := filepath.Join(dir, tilePath(t))
				os.MkdirAll(filepath.Dir(path), 0o777)
				if err := os.WriteFile(path, must(tlog.ReadTileData(t, all)), 0o666); err != nil {
					fail("%v", err)
				}
			}
			old = n
			root := treeHash(n, all)
			text := fmt.Sprintf("%s\n%d\n%s\n", signer.Name(), n, root)
			head := must(note.Sign(&note.Note{Text: text}, signer))
			os.WriteFile(filepath.Join(dir, "checkpoint"), head, 0o666)
			record := must(json.Marshal(map[string]any{"ts": 1, "key": signer.Name(), "payload": string(head)}))
			fmt.Fprintf(heads, "%s\n", record)
		}
		if n == count {
			break
		}
		s := ""
		if n%3 == 0 {
			s = `"s":1,`
		}
		// A member that evchain does not know.
		line := fmt.Sprintf(`{"n":%d,"at":%d,"prev":"%s",%s"later":[{"x":"}"}],"source":"go","record":{"payload":"%d"}}`,
			n, 1700000000000+n/7, prev, s, n)
		h := tlog.RecordHash([]byte(line))
		all = append(all, must(tlog.StoredHashesForRecordHash(n, h, all))...)
		fmt.Fprintln(w, line)
		prev = h.String()
	}
	w.Flush()
}

func prove(file string, n int64) {
	dir := file + ".tlog"
	head := must(os.ReadFile(filepath.Join(dir, "checkpoint")))
	text, _, _ := strings.Cut(string(head), "\n\n")
	_, tree := parseHead(text + "\n")
	proof := must(tlog.ProveRecord(tree.N, n, tlog.TileHashReader(tree, dirReader{dir})))
	fmt.Printf("c2sp.org/tlog-proof@v1\nindex %d\n", n)
	for _, h := range proof {
		fmt.Println(h)
	}
	fmt.Printf("\n%s", head)
}

// hashes takes the lines up to the empty one, and what stands behind it.
func hashes(text string) (first string, list []tlog.Hash, rest string) {
	top, rest, ok := strings.Cut(text, "\n\n")
	if !ok {
		fail("no head")
	}
	rows := strings.Split(top, "\n")
	for _, row := range rows[1:] {
		list = append(list, must(tlog.ParseHash(row)))
	}
	return rows[0], list, rest
}

func check(vkey, proofFile, lineFile string) {
	text := string(must(os.ReadFile(proofFile)))
	first := "c2sp.org/tlog-proof@v1\n"
	if !strings.HasPrefix(text, first) {
		fail("no proof")
	}
	index, list, head := hashes(strings.TrimPrefix(text, first))
	n := must(strconv.ParseInt(strings.TrimPrefix(index, "index "), 10, 64))
	tree := openHead([]byte(head), must(note.NewVerifier(vkey)))
	line := bytes.TrimSuffix(must(os.ReadFile(lineFile)), []byte("\n"))
	if err := tlog.CheckRecord(list, tree.N, tree.Hash, n, tlog.RecordHash(line)); err != nil {
		fail("%v", err)
	}
}

func consistency(vkey, oldFile, proofFile string) {
	key := must(note.NewVerifier(vkey))
	old := openHead(must(os.ReadFile(oldFile)), key)
	first, list, head := hashes(string(must(os.ReadFile(proofFile))))
	if first != fmt.Sprintf("old %d", old.N) {
		fail("the proof is from %q", first)
	}
	tree := openHead([]byte(head), key)
	switch {
	case old.N == 0:
		if len(list) != 0 || old.Hash != tlog.Hash(sha256.Sum256(nil)) {
			fail("the empty tree")
		}
	default:
		if err := tlog.CheckTree(list, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			fail("%v", err)
		}
	}
}

func bundles(file, to string) {
	var bundle []byte
	var n int64
	flush := func(width int) {
		t := tlog.Tile{H: height, L: 0, N: (n - 1) / 256, W: width}
		path := filepath.Join(to, strings.Replace(tilePath(t), "tile/0/", "tile/entries/", 1))
		os.MkdirAll(filepath.Dir(path), 0o777)
		if err := os.WriteFile(path, bundle, 0o666); err != nil {
			fail("%v", err)
		}
		bundle = nil
	}
	lines(file, func(line []byte) {
		if len(line) > 65535 {
			fail("entry %d is too long for a bundle", n)
		}
		bundle = append(binary.BigEndian.AppendUint16(bundle, uint16(len(line))), line...)
		n++
		if n%256 == 0 {
			flush(256)
		}
	})
	if n%256 != 0 {
		flush(int(n % 256))
	}
}

func main() {
	a := os.Args[1:]
	switch {
	case len(a) == 3 && a[0] == "verify":
		verify(a[1], a[2])
	case len(a) == 4 && a[0] == "write":
		write(a[1], a[2], must(strconv.ParseInt(a[3], 10, 64)))
	case len(a) == 3 && a[0] == "prove":
		prove(a[1], must(strconv.ParseInt(a[2], 10, 64)))
	case len(a) == 4 && a[0] == "check":
		check(a[1], a[2], a[3])
	case len(a) == 4 && a[0] == "consistency":
		consistency(a[1], a[2], a[3])
	case len(a) == 3 && a[0] == "bundles":
		bundles(a[1], a[2])
	default:
		fail("see the head of main.go")
	}
}
