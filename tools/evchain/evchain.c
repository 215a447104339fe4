/* SPDX-License-Identifier: ISC */
/* evchain - an append-only log that jq and grep read, and that stands up to proof.
 *
 * DESIGN: the log is a file of JSON lines. Each line has the hash of the line before it; the same
 * hashes are the leaves of a Merkle tree (RFC 6962), whose inner hashes stand in tiles (C2SP
 * tlog-tiles) beside the file, and whose root is signed (C2SP tlog-checkpoint). The lines are the
 * log: tiles are made of them, the index is a cache.
 *
 * - append writes groups. A group is durable before a record of it is final or handed on; then
 *   comes the next one.
 * - What a crash leaves is told from damage by the lines alone: recover.c.
 * - Readers take no lock: lines and tiles are only added, and a head is replaced by rename.
 *
 * Files: append.c the sink, origin.c where a record's source stands, repeats.c records that come
 * again, rekey.c the change of keys; writer.c lines, tiles and heads, recover.c what it finds at
 * its start; verify.c, show.c, prove.c the readers, keygen.c keys; underneath hash.c, tree.c,
 * tiles.c, proof.c of the tree, note.c of keys and heads, entry.c of a line, files.c of segments
 * and small files, find.c of a line's place. */
#include "evchain/parts.h"

#include <openssl/crypto.h>

const char *evchain_library(void)
{
	static char text[64];
	const char *version = OpenSSL_version(OPENSSL_VERSION);

	/* "OpenSSL 3.0.17 1 Jul 2025": without the date. */
	for (size_t i = 0, words = 0; i + 1 < sizeof(text) && version[i]; i++) {
		words += version[i] == ' ';
		text[i] = words < 2 ? version[i] : '\0';
	}
	return text;
}

int main(int argc, char **argv)
{
	static const char *const examples[] = {
		"(umask 077; evchain keygen example.com/audit >audit.key) 2>audit.vkey",
		"kread -e -o beginning orders payments | evchain append --key @audit.key audit.ndjson",
		"evchain verify --key @audit.vkey audit.ndjson",
		"evchain prove audit.ndjson 17 >17.tlog-proof",
		NULL,
	};
	static const struct opt_page page = {
		.prog = "evchain",
		.summary =
			"A hash-chained audit log: append to it, verify it, prove what is in it.",
		.examples = examples,
		.libraries = {evchain_library},
	};
	static const struct opt_command commands[] = {
		{"append", "append records, durably, and acknowledge or hand them on",
			append_command},
		{"verify", "read all of a log and say whether it is as it was signed",
			verify_command},
		{"show", "print entries by time, origin, key or number", show_command},
		{"prove", "print the proof that an entry is in the log", prove_command},
		{"check", "check such a proof, without the log", check_command},
		{"consistency", "print the proof that the log has grown from an older head",
			consistency_command},
		{"keygen", "make a key to sign heads with", keygen_command},
		{NULL},
	};

	return opt_run(argc, argv, &page, commands);
}
