# SPDX-License-Identifier: ISC
# ---- tools/: a program of one file, or a folder; its LDADD is the list of what it uses ----
bin_PROGRAMS = tools/bin/kread tools/bin/kwrite tools/bin/kcheck tools/bin/khttp tools/bin/kmock tools/bin/rsub tools/bin/rpub tools/bin/rapply \
	tools/bin/evstamp tools/bin/evkey tools/bin/evsel tools/bin/evbatch tools/bin/evack tools/bin/evchain \
	tools/bin/evcorr tools/bin/evfmt tools/bin/evsse tools/bin/evreplay tools/bin/evtop tools/bin/evpipe

EV_LDADD = lib/libevpipe.a $(ARGTABLE_LIBS)

tools_bin_kread_SOURCES = tools/kread/kread.c tools/kread/acks.c tools/kread/group.c tools/kread/give.c tools/kread/give.h tools/kread/parts.c \
	tools/kread/follow.c tools/kread/ids.c tools/kread/ids.h tools/kread/keeper.c tools/kread/marks.c tools/kread/member.c tools/kread/move.c tools/kread/move-find.c tools/kread/offsets.c tools/kread/offsets.h tools/kread/range.c tools/kread/range.h tools/kread/refusal.c tools/kread/refusal.h tools/kread/show.c tools/kread/show.h tools/kread/unheard.c tools/kread/unheard.h tools/kread/place.c \
	tools/kread/print.c tools/kread/wire.c tools/kread/acks.h tools/kread/follow.h tools/kread/group.h \
	tools/kread/keeper.h tools/kread/marks.h tools/kread/member.h tools/kread/move.h tools/kread/moved.h tools/kread/parts.h \
	tools/kread/place.h tools/kread/print.h tools/kread/wire.h
tools_bin_kread_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
tools_bin_kread_LDADD = $(EV_LDADD) $(KAFKA_LIBS) $(CRYPTO_LIBS)
tools_bin_kwrite_SOURCES = tools/kwrite/kwrite.c tools/kwrite/anew.c tools/kwrite/anew.h tools/kwrite/batch.c tools/kwrite/batch.h \
	tools/kwrite/blame.c tools/kwrite/blame.h \
	tools/kwrite/deadletters.c tools/kwrite/deadletters.h tools/kwrite/delivery.c tools/kwrite/delivery.h \
	tools/kwrite/first.c tools/kwrite/first.h \
	tools/kwrite/map.c tools/kwrite/map.h tools/kwrite/old.c tools/kwrite/old.h \
	tools/kwrite/message.c tools/kwrite/message.h tools/kwrite/partition.c tools/kwrite/partition.h tools/kwrite/place.c tools/kwrite/place.h \
	tools/kwrite/receipts.c tools/kwrite/receipts.h tools/kwrite/resend.c tools/kwrite/resend.h tools/kwrite/shape.c tools/kwrite/shape.h tools/kwrite/stall.c tools/kwrite/stall.h \
	tools/kwrite/call.c tools/kwrite/call.h \
	tools/kwrite/positions.c tools/kwrite/positions.h tools/kwrite/txn-client.c tools/kwrite/txn.c tools/kwrite/txn.h
tools_bin_kwrite_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
tools_bin_kwrite_LDADD = $(EV_LDADD) $(KAFKA_LIBS) $(CRYPTO_LIBS)
tools_bin_kcheck_SOURCES = tools/kcheck/kcheck.c tools/kcheck/groups.c tools/kcheck/identity.c tools/kcheck/names.c tools/kcheck/show.c tools/kcheck/show-views.c \
	tools/kcheck/topics.c tools/kcheck/paint.h tools/kcheck/parts.h tools/kcheck/show.h tools/kcheck/views.h
tools_bin_kcheck_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
tools_bin_kcheck_LDADD = $(EV_LDADD) $(KAFKA_LIBS) $(CRYPTO_LIBS)
tools_bin_khttp_SOURCES = tools/khttp/khttp.c tools/khttp/access.c tools/khttp/access.h tools/khttp/admin.c tools/khttp/ask.c tools/khttp/ask.h \
	tools/khttp/body.c tools/khttp/body.h tools/khttp/consumer.c tools/khttp/consumer-calls.c tools/khttp/consumer-commit.c tools/khttp/consumer-create.c \
	tools/khttp/consumer-error.c tools/khttp/consumer-group.c tools/khttp/consumer-metrics.c tools/khttp/consumer-pattern.c tools/khttp/consumer-places.c tools/khttp/consumer-read.c \
	tools/khttp/consumer-wait.c tools/khttp/instance.h tools/khttp/consumer.h tools/khttp/poll.c tools/khttp/poll-print.c tools/khttp/poll-stream.c tools/khttp/error.c tools/khttp/error.h tools/khttp/feed.c tools/khttp/feed.h \
	tools/khttp/handles.c tools/khttp/handles.h tools/khttp/idem.c tools/khttp/idem.h tools/khttp/job.h tools/khttp/khttp.h tools/khttp/media.c tools/khttp/media.h tools/khttp/openapi.c tools/khttp/openapi.h \
	tools/khttp/forward.c tools/khttp/forward-why.c tools/khttp/forward-answer.c tools/khttp/forward.h tools/khttp/peers.c tools/khttp/peers.h tools/khttp/produce.c tools/khttp/produce.h tools/khttp/produce-answer.c tools/khttp/produce-room.c tools/khttp/slots.h tools/khttp/writers.c tools/khttp/writers.h tools/khttp/reached.c tools/khttp/reached.h tools/khttp/records.c tools/khttp/records.h tools/khttp/replies.c tools/khttp/replies.h tools/khttp/request.c tools/khttp/request.h tools/khttp/route.c tools/khttp/route.h \
	tools/khttp/stats.c tools/khttp/stats.h tools/khttp/topics.c tools/khttp/topics.h
tools_bin_khttp_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
tools_bin_khttp_LDADD = $(EV_LDADD) $(KAFKA_LIBS) $(MICROHTTPD_LIBS) $(CRYPTO_LIBS) $(JQ_LIBS)
# The description, as the elements of an array.
CLEANFILES = tools/khttp/openapi.inc
tools/khttp/openapi.inc: tools/khttp/openapi.json
	$(AM_V_GEN)$(MKDIR_P) tools/khttp && \
		od -An -v -tu1 $(srcdir)/tools/khttp/openapi.json | sed 's/  *\([0-9][0-9]*\)/\1,/g' >$@.new && mv $@.new $@
tools/khttp/bin_khttp-openapi.$(OBJEXT): tools/khttp/openapi.inc
tools_bin_kmock_SOURCES = tools/kmock.c
tools_bin_kmock_CFLAGS = $(AM_CFLAGS) $(KAFKA_CFLAGS)
tools_bin_kmock_LDADD = $(EV_LDADD) $(KAFKA_LIBS) $(CRYPTO_LIBS)
tools_bin_rsub_SOURCES = tools/rsub/rsub.c tools/rsub/answer.c tools/rsub/ask.c tools/rsub/exact.c tools/rsub/exact.h \
	tools/rsub/entries.c tools/rsub/entry.c tools/rsub/info.c tools/rsub/list.c tools/rsub/names.c tools/rsub/pubsub.c \
	tools/rsub/renew.c tools/rsub/streams.c tools/rsub/whole.c tools/rsub/xack.c tools/rsub/entry.h \
	tools/rsub/info.h tools/rsub/list.h tools/rsub/names.h tools/rsub/pubsub.h tools/rsub/streams.h tools/rsub/whole.h tools/rsub/xack.h
tools_bin_rsub_CFLAGS = $(AM_CFLAGS) $(HIREDIS_CFLAGS)
tools_bin_rsub_LDADD = $(EV_LDADD) $(HIREDIS_LIBS) $(CRYPTO_LIBS)
tools_bin_rpub_SOURCES = tools/rpub/rpub.c tools/rpub/command.c tools/rpub/entry.c tools/rpub/known.c \
	tools/rpub/publish.c tools/rpub/spread.c tools/rpub/start.c tools/rpub/stream.c tools/rpub/rpub.h
tools_bin_rpub_CFLAGS = $(AM_CFLAGS) $(HIREDIS_CFLAGS)
tools_bin_rpub_LDADD = $(EV_LDADD) $(HIREDIS_LIBS) $(CRYPTO_LIBS)
tools_bin_rapply_SOURCES = tools/rapply/rapply.c tools/rapply/answers.c tools/rapply/batch.c \
	tools/rapply/commands.c tools/rapply/keys.c tools/rapply/looks.c tools/rapply/names.c \
	tools/rapply/places.c tools/rapply/replies.c tools/rapply/shards.c tools/rapply/spots.c \
	tools/rapply/writer.c tools/rapply/commands.h tools/rapply/keys.h tools/rapply/names.h \
	tools/rapply/rapply.h tools/rapply/spots.h tools/rapply/writer.h
tools_bin_rapply_CFLAGS = $(AM_CFLAGS) $(HIREDIS_CFLAGS)
tools_bin_rapply_LDADD = $(EV_LDADD) $(HIREDIS_LIBS) $(CRYPTO_LIBS)
tools_bin_evstamp_SOURCES = tools/evstamp.c
tools_bin_evstamp_LDADD = $(EV_LDADD)
tools_bin_evkey_SOURCES = tools/evkey.c
tools_bin_evkey_LDADD = $(EV_LDADD) $(JQ_LIBS)
tools_bin_evsel_SOURCES = tools/evsel.c
tools_bin_evsel_LDADD = $(EV_LDADD) $(JQ_LIBS)
tools_bin_evbatch_SOURCES = tools/evbatch/evbatch.c tools/evbatch/numbers.c tools/evbatch/output.c \
	tools/evbatch/runs.c \
	tools/evbatch/evbatch.h tools/evbatch/numbers.h
tools_bin_evbatch_LDADD = $(EV_LDADD)
tools_bin_evack_SOURCES = tools/evack.c
tools_bin_evack_LDADD = $(EV_LDADD)
tools_bin_evcorr_SOURCES = tools/evcorr/evcorr.c tools/evcorr/call.c tools/evcorr/calls.c tools/evcorr/command.c \
	tools/evcorr/ears.c tools/evcorr/id.c tools/evcorr/ident.c tools/evcorr/keys.c tools/evcorr/print.c \
	tools/evcorr/stamp.c tools/evcorr/store.c tools/evcorr/table.c tools/evcorr/wait.c \
	tools/evcorr/serve.c tools/evcorr/serve-reply.c tools/evcorr/serve-request.c tools/evcorr/serve-work.c \
	tools/evcorr/front.c tools/evcorr/front-command.c tools/evcorr/front-reply.c tools/evcorr/front-request.c \
	tools/evcorr/front.h \
	tools/evcorr/calls.h tools/evcorr/commands.h tools/evcorr/ident.h tools/evcorr/parts.h tools/evcorr/print.h \
	tools/evcorr/serve.h tools/evcorr/table.h
tools_bin_evcorr_CFLAGS = $(AM_CFLAGS) $(HIREDIS_CFLAGS)
tools_bin_evcorr_LDADD = $(EV_LDADD) $(HIREDIS_LIBS) $(CRYPTO_LIBS) $(MICROHTTPD_LIBS)
tools_bin_evfmt_SOURCES = tools/evfmt/evfmt.c tools/evfmt/clock.c tools/evfmt/clock.h tools/evfmt/format.c \
	tools/evfmt/format-parse.c tools/evfmt/items.h tools/evfmt/format.h tools/evfmt/layout.c \
	tools/evfmt/layout.h tools/evfmt/paint.c tools/evfmt/paint.h tools/evfmt/view.c tools/evfmt/view.h
tools_bin_evfmt_LDADD = $(EV_LDADD)
tools_bin_evsse_SOURCES = tools/evsse/evsse.c tools/evsse/access.c tools/evsse/access.h tools/evsse/client.c tools/evsse/cursor.c tools/evsse/gap.c \
	tools/evsse/page.c tools/evsse/position.c tools/evsse/replay.c tools/evsse/replay.h tools/evsse/ring.c tools/evsse/serve.c tools/evsse/stream.c \
	tools/evsse/where.c tools/evsse/client.h tools/evsse/evsse.h tools/evsse/gap.h tools/evsse/page.h \
	tools/evsse/position.h tools/evsse/ring.h tools/evsse/serve.h tools/evsse/stream.h tools/evsse/where.h
tools_bin_evsse_LDADD = $(EV_LDADD) $(MICROHTTPD_LIBS)
# The page, as the elements of an array.
CLEANFILES += tools/evsse/page.inc
tools/evsse/page.inc: tools/evsse/page.html
	$(AM_V_GEN)$(MKDIR_P) tools/evsse && \
		od -An -v -tu1 $(srcdir)/tools/evsse/page.html | sed 's/  *\([0-9][0-9]*\)/\1,/g' >$@.new && mv $@.new $@
tools/evsse/page.$(OBJEXT): tools/evsse/page.inc
tools_bin_evreplay_SOURCES = tools/evreplay.c
tools_bin_evreplay_LDADD = $(EV_LDADD) -lm
tools_bin_evchain_SOURCES = tools/evchain/evchain.c tools/evchain/append.c tools/evchain/entry.c \
	tools/evchain/files.c tools/evchain/find.c tools/evchain/finding.c tools/evchain/hash.c tools/evchain/heads.c \
	tools/evchain/keygen.c tools/evchain/note.c tools/evchain/origin.c tools/evchain/proof.c tools/evchain/prove.c \
	tools/evchain/recover.c tools/evchain/rekey.c tools/evchain/repeats.c tools/evchain/show.c tools/evchain/tiles.c tools/evchain/tree.c tools/evchain/verdict.c \
	tools/evchain/verify.c tools/evchain/writer.c \
	tools/evchain/entry.h tools/evchain/files.h tools/evchain/find.h tools/evchain/finding.h tools/evchain/hash.h \
	tools/evchain/heads.h tools/evchain/note.h tools/evchain/origin.h tools/evchain/parts.h tools/evchain/proof.h \
	tools/evchain/recover.h tools/evchain/rekey.h tools/evchain/repeats.h tools/evchain/tiles.h tools/evchain/tree.h tools/evchain/verify.h tools/evchain/writer.h
tools_bin_evchain_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
tools_bin_evchain_LDADD = $(EV_LDADD) $(CRYPTO_LIBS)
tools_bin_evtop_SOURCES = tools/evtop/evtop.c tools/evtop/fetch.c tools/evtop/fetch.h tools/evtop/figures.c \
	tools/evtop/figures.h tools/evtop/heavy.c tools/evtop/heavy.h tools/evtop/screen.c tools/evtop/screen.h \
	tools/evtop/table.c tools/evtop/table.h tools/evtop/traffic.c tools/evtop/traffic.h tools/evtop/unit.c \
	tools/evtop/unit.h
tools_bin_evtop_LDADD = $(EV_LDADD) $(CRYPTO_LIBS)
tools_bin_evpipe_SOURCES = tools/evpipe/evpipe.c tools/evpipe/evpipe.h tools/evpipe/directory.c \
	tools/evpipe/directory.h tools/evpipe/cmdline.c tools/evpipe/cmdline.h \
	tools/evpipe/members.c tools/evpipe/members.h tools/evpipe/ends.c tools/evpipe/ends.h \
	tools/evpipe/strays.c tools/evpipe/strays.h tools/evpipe/health.c tools/evpipe/health.h \
	tools/evpipe/manager.c tools/evpipe/manager.h tools/evpipe/status.c tools/evpipe/status.h \
	tools/evpipe/unit.c tools/evpipe/unit.h \
	tools/evpipe/terminal.c tools/evpipe/terminal.h
tools_bin_evpipe_LDADD = $(EV_LDADD) $(MICROHTTPD_LIBS)
