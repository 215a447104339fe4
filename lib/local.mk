# SPDX-License-Identifier: ISC
# ---- lib/: never installed; a room includes itself and rooms below it (HACKING.md) ----
noinst_LIBRARIES = lib/libevpipe.a
LIB_JSON = lib/json/json.c lib/json/json-escape.c lib/json/json-string.c lib/json/json-unescape.c \
	lib/json/json-block.h lib/json/json-parts.h lib/json/json.h
lib_libevpipe_a_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS) $(HIREDIS_CFLAGS) $(JQ_CFLAGS) $(ARGTABLE_CFLAGS) \
	$(MICROHTTPD_CFLAGS) $(CRYPTO_CFLAGS)
lib_libevpipe_a_SOURCES = \
	lib/base/buf.c lib/base/buf.h \
	lib/base/catalog.c lib/base/catalog.h \
	lib/base/child.c lib/base/child.h \
	lib/base/errclass.c lib/base/errclass.h \
	lib/base/line.c lib/base/line.h \
	lib/base/mem.c lib/base/mem.h \
	lib/base/metrics.c lib/base/metrics.h \
	lib/base/msg.c lib/base/msg.h \
	lib/base/near.c lib/base/near.h \
	lib/base/num.c lib/base/num.h \
	lib/base/opt.c lib/base/opt.h \
	lib/base/opt-parts.h lib/base/opt-refuse.c \
	lib/base/out.c lib/base/out.h \
	lib/base/progress.c lib/base/progress.h \
	lib/base/prom.c lib/base/prom.h \
	lib/base/sorted.h \
	lib/base/spin.c lib/base/spin.h \
	lib/base/text.c lib/base/text.h \
	lib/base/thread.c lib/base/thread.h \
	lib/base/trouble.c lib/base/trouble.h \
	lib/base/wake.c lib/base/wake.h \
	$(LIB_JSON) \
	lib/json/path.c lib/json/path.h \
	lib/jq/expr.c lib/jq/expr.h \
	lib/kafka/admin.c lib/kafka/admin.h \
	lib/kafka/bootstrap.c lib/kafka/bootstrap.h \
	lib/kafka/brokers.c lib/kafka/brokers.h \
	lib/kafka/check.c lib/kafka/check-conf.c lib/kafka/check-group.c lib/kafka/check-place.c lib/kafka/check-verdict.c lib/kafka/check-parts.h lib/kafka/check.h \
	lib/kafka/conf.c lib/kafka/conf.h \
	lib/kafka/diagnosis.c lib/kafka/diagnosis.h \
	lib/kafka/fetchers.c lib/kafka/fetchers.h \
	lib/kafka/generation.c lib/kafka/generation.h \
	lib/kafka/kafka.c lib/kafka/kafka.h lib/kafka/kafka-parts.h lib/kafka/outage.c lib/kafka/renew.c \
	lib/kafka/like.c lib/kafka/like.h \
	lib/kafka/limits.c lib/kafka/limits.h \
	lib/kafka/listing.c lib/kafka/listing.h \
	lib/kafka/liveness.c lib/kafka/liveness.h \
	lib/kafka/login.c lib/kafka/login.h \
	lib/kafka/protocol.c lib/kafka/protocol-parts.h \
	lib/kafka/protocol.h \
	lib/kafka/query.c lib/kafka/query.h \
	lib/kafka/resolve.c lib/kafka/resolve.h \
	lib/kafka/secrets.c lib/kafka/secrets.h \
	lib/kafka/silence.c lib/kafka/silence.h \
	lib/kafka/stranger.c lib/kafka/stranger.h \
	lib/kafka/talk.c lib/kafka/talk.h \
	lib/kafka/tls-conf.c lib/kafka/tls-conf.h \
	lib/kafka/token.c lib/kafka/token.h \
	lib/kafka/topics.c lib/kafka/topics.h \
	lib/kafka/tries.c lib/kafka/tries.h \
	lib/kafka/verdict.c lib/kafka/verdict.h \
	lib/kafka/words.c lib/kafka/words.h \
	lib/net/bytes.c lib/net/bytes.h \
	lib/net/digest.c lib/net/digest.h \
	lib/net/dial.c lib/net/dial.h \
	lib/net/keepalive.c lib/net/keepalive.h \
	lib/net/listen.c lib/net/listen.h \
	lib/net/peers.c lib/net/peers.h \
	lib/net/renewal.c lib/net/renewal.h \
	lib/net/resolve.c lib/net/resolve.h \
	lib/net/tls.c lib/net/tls-files.c lib/net/tls-report.c lib/net/tls-parts.h lib/net/tls.h \
	lib/redis/request.c lib/redis/request.h \
	lib/redis/resp.c lib/redis/resp.h \
	lib/redis/client.c lib/redis/client-open.c lib/redis/client-parts.h lib/redis/client.h \
	lib/redis/cluster.c lib/redis/cluster-map.c lib/redis/cluster-members.c lib/redis/cluster-parts.h \
	lib/redis/cluster.h \
	lib/redis/fault.c lib/redis/fault.h \
	lib/redis/id.c lib/redis/id.h \
	lib/redis/map.c lib/redis/map.h \
	lib/redis/node.c lib/redis/node.h \
	lib/redis/sentinel.c lib/redis/sentinel-replies.c lib/redis/sentinel-words.c lib/redis/sentinel-parts.h lib/redis/sentinel.h \
	lib/redis/link.c lib/redis/login.c lib/redis/probe.c lib/redis/link-parts.h lib/redis/link.h \
	lib/redis/slot.c lib/redis/slot.h \
	lib/redis/subscribe.c lib/redis/subscribe.h \
	lib/redis/url.c lib/redis/url.h \
	lib/http/http.c lib/http/http-body.c lib/http/http-direct.c lib/http/http-head.c lib/http/http-receipt.c lib/http/http-reply.c lib/http/http-tls.c lib/http/http-route.c lib/http/http-parts.h lib/http/http.h \
	lib/http/pair.c lib/http/pair.h lib/http/tokens.c lib/http/tokens.h \
	lib/record/keytype.c lib/record/keytype.h \
	lib/record/record.c lib/record/record-read.c lib/record/record-write.c \
	lib/record/record-parts.h lib/record/record.h \
	lib/record/template.c lib/record/template.h \
	lib/ack/client.c lib/ack/client-connect.c lib/ack/client-lines.c lib/ack/client-parts.h lib/ack/client.h \
	lib/ack/client-message.c lib/ack/client-position.c lib/ack/position.c lib/ack/position.h lib/ack/list.c lib/ack/list.h \
	lib/ack/server.c lib/ack/server-message.c lib/ack/server.h lib/ack/server-parts.h \
	lib/ack/label.c lib/ack/label.h \
	lib/ack/ledger.c lib/ack/ledger-open.c lib/ack/ledger-report.c lib/ack/ledger-runs.c lib/ack/ledger-names.c lib/ack/ledger.h \
	lib/ack/ledger-parts.h \
	lib/flow/dead.c lib/flow/dead.h \
	lib/flow/filter.c lib/flow/filter.h \
	lib/flow/input.c lib/flow/input.h \
	lib/flow/rsink.c lib/flow/rsink.h \
	lib/flow/sink.c lib/flow/sink.h lib/flow/sink-left.c lib/flow/sink-parts.h \
	lib/flow/source.c lib/flow/source-fate.c lib/flow/source.h lib/flow/source-parts.h
