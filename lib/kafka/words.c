/* SPDX-License-Identifier: ISC */
#include "kafka/words.h"

const struct opt_hint words_of_readers[] = {
	{"-t", "topics are operands: kread TOPIC"},
	{"--topic", "topics are operands: kread TOPIC"},
	{"-C", "kread always reads"},
	{"-P", "kwrite writes: kwrite -t TOPIC"},
	{"-G", "a group is -g: kread -g GROUP TOPIC"},
	{"-L", "kcheck lists a cluster: kcheck -L"},
	{"-Q", "kcheck asks for offsets: kcheck -t TOPIC --offsets @TIME"},
	{"-f", "evfmt prints in a format: kread TOPIC | evfmt -f FORMAT"},
	{"-J", "kread always prints JSON"},
	{"-D", "--raw prints payloads, a line each; with -0 they end with NUL"},
	{"-K", "evfmt prints keys: kread TOPIC | evfmt -f '%k %s\\n'"},
	{"-u", "what is slow leaves at once; there is no option for it"},
	{"-n", "a count is -c: kread -c COUNT TOPIC"},
	{"--brokers", "brokers are -b HOST:PORT"},
	{"--offset", "where to begin is -o FROM"},
	{"--num", "a count is -c COUNT"},
	{"--group", "a group is -g GROUP"},
	{0},
};

const struct opt_hint words_of_writers[] = {
	{"-P", "kwrite always writes"},
	{"-C", "kread reads: kread TOPIC"},
	{"-L", "kcheck lists a cluster: kcheck -L"},
	{"-K", "with --raw a key is --key KEY; else it stands in the record, {\"key\":…,\"payload\":…}"},
	{"-k", "with --raw a key is --key KEY; else it stands in the record, {\"key\":…,\"payload\":…}"},
	{"-l", "kwrite reads standard input: kwrite --raw -t TOPIC <FILE"},
	{"-T", "--pass hands each record on"},
	{"-Z", "a null payload is written as {\"payload\":null}"},
	{"-D", "with --raw payloads end with LF, with -0 with NUL"},
	{"--brokers", "brokers are -b HOST:PORT"},
	{0},
};
