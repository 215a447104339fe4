# SPDX-License-Identifier: ISC
# ---- faults: needs a real Kafka (tests/kafka/fetch), redis-server, kcat, jq and strace ----
.PHONY: check-faults soak-faults
check-faults: all
	$(srcdir)/tests/faults/test_checker.py
	EVPIPE_BUILD=$(abs_builddir) $(srcdir)/tests/faults/run --cut
soak-faults: all
	EVPIPE_BUILD=$(abs_builddir) $(srcdir)/tests/faults/run --long
	EVPIPE_BUILD=$(abs_builddir) $(srcdir)/tests/faults/mutants

# ---- the whole drill: an hour of faults on a machine with five deployments ----
.PHONY: drill
drill: all
	EVPIPE_BUILD=$(abs_builddir) $(srcdir)/tests/drill/run

# ---- models of the acknowledgements; needs spin ----
.PHONY: check-model
check-model:
	$(srcdir)/tests/model/run

# ---- unit tests ----
check_PROGRAMS = tests/unit/prop-ledger tests/unit/prop-ledger-calls \
	tests/unit/test-ack-client tests/unit/test-ack-server tests/unit/test-brokers tests/unit/test-buf \
	tests/unit/test-child tests/unit/test-child-fork \
	tests/unit/test-dead tests/unit/test-dial tests/unit/test-http tests/unit/test-idem \
	tests/unit/test-json tests/unit/test-json-scalar tests/unit/test-json-sse2 \
	tests/unit/test-json-ssse3 tests/unit/test-kafka tests/unit/test-keys tests/unit/test-label tests/unit/test-ledger \
	tests/unit/test-line tests/unit/test-link tests/unit/test-listen \
	tests/unit/test-metrics tests/unit/test-msg tests/unit/test-num tests/unit/test-opt tests/unit/test-out tests/unit/test-path tests/unit/test-peers \
	tests/unit/test-prom tests/unit/test-protocol tests/unit/test-query tests/unit/test-record tests/unit/test-redis \
	tests/unit/test-resp tests/unit/test-sink tests/unit/test-position tests/unit/test-sentinel tests/unit/test-slot tests/unit/test-sse tests/unit/test-template tests/unit/test-text tests/unit/test-tls tests/unit/test-wire
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
tests_unit_test_ack_client_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=poll
tests_unit_test_ack_server_LDADD = $(UNIT_LDADD)
tests_unit_test_brokers_LDADD = $(UNIT_LDADD)
tests_unit_test_buf_LDADD = $(UNIT_LDADD)
tests_unit_test_child_LDADD = $(UNIT_LDADD)
# As where vfork shares no memory.
tests_unit_test_child_fork_SOURCES = tests/unit/test-child.c tests/unit/test.h lib/base/child.c
tests_unit_test_child_fork_CPPFLAGS = $(AM_CPPFLAGS) -Dvfork=fork
tests_unit_test_child_fork_LDADD = $(UNIT_LDADD)
tests_unit_test_dead_LDADD = $(UNIT_LDADD)
tests_unit_test_http_LDADD = $(UNIT_LDADD) $(MICROHTTPD_LIBS)
tests_unit_test_idem_SOURCES = tests/unit/test-idem.c tools/khttp/idem.c tools/khttp/idem.h tests/unit/test.h
tests_unit_test_idem_LDADD = $(UNIT_LDADD)
tests_unit_test_dial_LDADD = $(UNIT_LDADD)
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
tests_unit_test_keys_SOURCES = tests/unit/test-keys.c tools/rapply/keys.c tools/rapply/keys.h tests/unit/test.h
tests_unit_test_keys_LDADD = $(UNIT_LDADD)
tests_unit_test_kafka_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
tests_unit_test_kafka_LDADD = $(UNIT_LDADD) $(ARGTABLE_LIBS) $(KAFKA_LIBS) $(CRYPTO_LIBS)
tests_unit_test_label_LDADD = $(UNIT_LDADD)
tests_unit_test_ledger_LDADD = $(UNIT_LDADD)
tests_unit_test_line_LDADD = $(UNIT_LDADD)
tests_unit_test_listen_LDADD = $(UNIT_LDADD)
tests_unit_test_metrics_LDADD = $(UNIT_LDADD)
tests_unit_test_msg_LDADD = $(UNIT_LDADD)
tests_unit_test_num_LDADD = $(UNIT_LDADD)
tests_unit_test_link_SOURCES = tests/unit/test-link.c tests/unit/redis-pair.h tests/unit/test.h
tests_unit_test_link_LDADD = $(UNIT_LDADD) $(ARGTABLE_LIBS) $(HIREDIS_LIBS) $(CRYPTO_LIBS)
tests_unit_test_opt_LDADD = $(UNIT_LDADD) $(ARGTABLE_LIBS)
tests_unit_test_out_LDADD = $(UNIT_LDADD)
tests_unit_test_path_LDADD = $(UNIT_LDADD)
tests_unit_test_peers_LDADD = $(UNIT_LDADD)
tests_unit_test_prom_LDADD = $(UNIT_LDADD)
tests_unit_test_protocol_SOURCES = tests/unit/test-protocol.c tests/unit/answers.h tests/unit/test.h
tests_unit_test_protocol_LDADD = $(UNIT_LDADD) $(CRYPTO_LIBS)
tests_unit_test_query_SOURCES = tests/unit/test-query.c tests/unit/answers.h tests/unit/test.h
tests_unit_test_query_LDADD = $(UNIT_LDADD)
tests_unit_test_record_LDADD = $(UNIT_LDADD)
tests_unit_test_redis_SOURCES = tests/unit/test-redis.c tests/unit/redis-pair.h tests/unit/test.h
tests_unit_test_redis_LDADD = $(UNIT_LDADD) $(ARGTABLE_LIBS) $(HIREDIS_LIBS) $(CRYPTO_LIBS)
tests_unit_test_resp_SOURCES = tests/unit/test-resp.c tests/unit/resp-text.h tests/unit/test.h
tests_unit_test_resp_CPPFLAGS = $(AM_CPPFLAGS) $(HIREDIS_CFLAGS)
tests_unit_test_resp_LDADD = $(UNIT_LDADD) $(HIREDIS_LIBS)
tests_unit_test_sink_LDADD = $(UNIT_LDADD) $(ARGTABLE_LIBS)
tests_unit_test_position_LDADD = $(UNIT_LDADD)
tests_unit_test_sentinel_LDADD = $(UNIT_LDADD) $(HIREDIS_LIBS) $(CRYPTO_LIBS)
tests_unit_test_slot_LDADD = $(UNIT_LDADD)
tests_unit_test_sse_SOURCES = tests/unit/test-sse.c tools/evsse/position.c tools/evsse/position.h tools/evsse/ring.c tools/evsse/ring.h \
	tools/evsse/cursor.c tools/evsse/where.c tools/evsse/where.h tests/unit/test.h
tests_unit_test_sse_LDADD = $(UNIT_LDADD)
tests_unit_test_template_LDADD = $(UNIT_LDADD)
tests_unit_test_text_LDADD = $(UNIT_LDADD)
tests_unit_test_wire_SOURCES = tests/unit/test-wire.c tests/unit/test.h tools/kread/wire.c
tests_unit_test_wire_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
tests_unit_test_wire_LDADD = $(UNIT_LDADD) $(KAFKA_LIBS)
tests_unit_test_tls_LDADD = $(UNIT_LDADD) $(ARGTABLE_LIBS) $(HIREDIS_LIBS) $(CRYPTO_LIBS)

# ---- fuzz: each tests/fuzz/fuzz-NAME.c; needs clang ----
.PHONY: check-fuzz
check-fuzz:
	FUZZ_CFLAGS='-iquote $(abs_builddir) $(KAFKA_CFLAGS) $(HIREDIS_CFLAGS) $(JQ_CFLAGS) $(ARGTABLE_CFLAGS) $(MICROHTTPD_CFLAGS) $(CRYPTO_CFLAGS)' \
	FUZZ_LIBS='$(KAFKA_LIBS) $(HIREDIS_LIBS) $(JQ_LIBS) $(ARGTABLE_LIBS) $(MICROHTTPD_LIBS) $(CRYPTO_LIBS)' FUZZ='$(FUZZ)' \
	$(srcdir)/tests/fuzz/run
