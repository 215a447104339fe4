# SPDX-License-Identifier: ISC
# ---- faults: needs a real Kafka (tests/kafka/fetch), redis-server, kcat, jq and strace ----
.PHONY: check-faults soak-faults
check-faults: all
	$(srcdir)/tests/faults/test_checker.py
	EVPIPE_BUILD=$(abs_builddir) $(srcdir)/tests/faults/run --cut
soak-faults: all
	EVPIPE_BUILD=$(abs_builddir) $(srcdir)/tests/faults/run --long
	EVPIPE_BUILD=$(abs_builddir) $(srcdir)/tests/faults/mutants

# ---- models of the acknowledgements; needs spin ----
.PHONY: check-model
check-model:
	$(srcdir)/tests/model/run

# ---- unit tests ----
check_PROGRAMS = tests/unit/prop-ledger tests/unit/prop-ledger-calls \
	tests/unit/test-ack-client tests/unit/test-ack-server tests/unit/test-brokers tests/unit/test-buf \
	tests/unit/test-dead \
	tests/unit/test-json tests/unit/test-json-scalar tests/unit/test-json-sse2 \
	tests/unit/test-json-ssse3 tests/unit/test-label tests/unit/test-ledger tests/unit/test-line \
	tests/unit/test-metrics tests/unit/test-num tests/unit/test-out tests/unit/test-path \
	tests/unit/test-prom tests/unit/test-record tests/unit/test-redis \
	tests/unit/test-template
# prop-mutants: that prop-ledger sees each broken rule.
TESTS = $(check_PROGRAMS) tests/unit/prop-mutants
AM_TESTS_ENVIRONMENT = CC='$(CC)' CFLAGS='$(CFLAGS)' LDFLAGS='$(LDFLAGS)' EVPIPE_BUILD='$(abs_builddir)'; \
	export CC CFLAGS LDFLAGS EVPIPE_BUILD;

UNIT_LDADD = lib/libevpipe.a -lcmocka
UNIT_JSON = tests/unit/test-json.c tests/unit/plain-json.c tests/unit/plain-json.h tests/unit/test.h

tests_unit_prop_ledger_SOURCES = tests/unit/prop-ledger.c tests/unit/sim.c \
	tests/unit/sim-members.c tests/unit/sim-source.c tests/unit/sim.h tests/unit/test.h
tests_unit_prop_ledger_LDADD = $(UNIT_LDADD)
tests_unit_prop_ledger_calls_LDADD = $(UNIT_LDADD)
tests_unit_test_ack_client_LDADD = $(UNIT_LDADD) $(ARGTABLE_LIBS)
tests_unit_test_ack_server_LDADD = $(UNIT_LDADD)
tests_unit_test_brokers_LDADD = $(UNIT_LDADD)
tests_unit_test_buf_LDADD = $(UNIT_LDADD)
tests_unit_test_dead_LDADD = $(UNIT_LDADD)
tests_unit_test_json_SOURCES = $(UNIT_JSON)
tests_unit_test_json_LDADD = $(UNIT_LDADD)
# The same with the loops that other machines get.
tests_unit_test_json_scalar_SOURCES = $(UNIT_JSON) $(LIB_JSON)
tests_unit_test_json_scalar_CPPFLAGS = $(AM_CPPFLAGS) -DJSON_NO_SIMD
tests_unit_test_json_scalar_LDADD = $(UNIT_LDADD)
tests_unit_test_json_ssse3_SOURCES = $(UNIT_JSON) $(LIB_JSON)
tests_unit_test_json_ssse3_CPPFLAGS = $(AM_CPPFLAGS) -DJSON_NO_COMPRESS
tests_unit_test_json_ssse3_LDADD = $(UNIT_LDADD)
tests_unit_test_json_sse2_SOURCES = $(UNIT_JSON) $(LIB_JSON)
tests_unit_test_json_sse2_CPPFLAGS = $(AM_CPPFLAGS) -DJSON_NO_SHUFFLE
tests_unit_test_json_sse2_LDADD = $(UNIT_LDADD)
tests_unit_test_label_LDADD = $(UNIT_LDADD)
tests_unit_test_ledger_LDADD = $(UNIT_LDADD)
tests_unit_test_line_LDADD = $(UNIT_LDADD)
tests_unit_test_metrics_LDADD = $(UNIT_LDADD)
tests_unit_test_num_LDADD = $(UNIT_LDADD)
tests_unit_test_out_LDADD = $(UNIT_LDADD)
tests_unit_test_path_LDADD = $(UNIT_LDADD)
tests_unit_test_prom_LDADD = $(UNIT_LDADD)
tests_unit_test_record_LDADD = $(UNIT_LDADD)
tests_unit_test_redis_LDADD = $(UNIT_LDADD) $(ARGTABLE_LIBS) $(HIREDIS_LIBS)
tests_unit_test_template_LDADD = $(UNIT_LDADD)

# ---- fuzz ----
# The program replays the files it is given; check-fuzz lets libFuzzer go on from the corpus.
EXTRA_PROGRAMS = tests/fuzz/fuzz-ack-client tests/fuzz/fuzz-ack-server tests/fuzz/fuzz-record
FUZZ_JSON = lib/json/json.c lib/json/json-escape.c lib/json/json-string.c lib/json/json-unescape.c
FUZZ_ACK_CLIENT = tests/fuzz/fuzz-ack-client.c lib/ack/client.c lib/ack/list.c lib/ack/label.c $(FUZZ_JSON) lib/base/buf.c lib/base/mem.c lib/base/msg.c lib/base/opt.c \
	lib/base/metrics.c lib/base/errclass.c lib/base/num.c lib/base/trouble.c lib/base/wake.c
FUZZ_ACK_SERVER = tests/fuzz/fuzz-ack-server.c lib/ack/server.c lib/ack/server-message.c lib/ack/server-socket.c \
	lib/ack/ledger.c lib/ack/ledger-open.c lib/ack/ledger-report.c lib/ack/label.c lib/base/buf.c lib/base/mem.c lib/base/msg.c lib/base/trouble.c
FUZZ_RECORD = tests/fuzz/fuzz-record.c tests/unit/plain-json.c $(FUZZ_JSON) \
	lib/record/record.c lib/record/record-read.c lib/record/record-write.c lib/json/path.c lib/record/template.c lib/base/buf.c lib/base/mem.c lib/base/msg.c lib/base/errclass.c
FUZZ_CC = clang
FUZZ_CFLAGS = -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined \
	-fno-sanitize-recover=all -iquote lib -iquote tests/unit -iquote $(abs_top_builddir)

tests_fuzz_fuzz_ack_client_SOURCES = tests/fuzz/fuzz-ack-client.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_ack_client_LDADD = lib/libevpipe.a $(ARGTABLE_LIBS)
tests_fuzz_fuzz_ack_server_SOURCES = tests/fuzz/fuzz-ack-server.c tests/fuzz/replay.c tests/fuzz/fuzz.h
tests_fuzz_fuzz_ack_server_LDADD = lib/libevpipe.a
tests_fuzz_fuzz_record_SOURCES = tests/fuzz/fuzz-record.c tests/fuzz/replay.c tests/fuzz/fuzz.h \
	tests/unit/plain-json.c tests/unit/plain-json.h
tests_fuzz_fuzz_record_CPPFLAGS = $(AM_CPPFLAGS) -iquote $(top_srcdir)/tests/unit
tests_fuzz_fuzz_record_LDADD = lib/libevpipe.a
CLEANFILES = $(EXTRA_PROGRAMS)

.PHONY: check-fuzz
check-fuzz:
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && \
	cp -R $(srcdir)/tests/fuzz/corpus/. "$$dir" && chmod -R u+w "$$dir" && \
	for target in ack-client ack-server record; do \
		case $$target in \
		ack-client) sources='$(FUZZ_ACK_CLIENT)' libs='$(ARGTABLE_LIBS)' ;; \
		ack-server) sources='$(FUZZ_ACK_SERVER)' libs= ;; \
		record) sources='$(FUZZ_RECORD)' libs= ;; \
		esac; \
		(cd $(srcdir) && $(FUZZ_CC) $(FUZZ_CFLAGS) $$sources $$libs -o "$$dir/fuzz-$$target") && \
		"$$dir/fuzz-$$target" -max_total_time=$${FUZZ_SECONDS:-20} -max_len=4096 \
			-print_final_stats=1 -artifact_prefix=fuzz-$$target- "$$dir/$$target" || exit 1; \
	done
