/* SPDX-License-Identifier: ISC */
#define _GNU_SOURCE
#include "kafka/liveness.h"

#include "base/msg.h"
#include "base/spin.h"
#include "base/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Keys of requests in Kafka's protocol. */
enum {
	PRODUCE = 0,
	FETCH = 1,
	METADATA = 3,
	JOIN_GROUP = 11,
	SYNC_GROUP = 14,
	SASL_HANDSHAKE = 17,
	API_VERSIONS = 18,
	CREATE_TOPICS = 19,
	DESCRIBE_CONFIGS = 32,
	SASL_AUTHENTICATE = 36,
};

/* The answers to these prove nothing: the login may yet fail. */
static bool is_login(int16_t api)
{
	return api == SASL_HANDSHAKE || api == API_VERSIONS || api == SASL_AUTHENTICATE;
}

/* The listener of a controller, which is no broker's, answers these, too (KIP-919). */
static bool is_of_controller(int16_t api)
{
	return api == CREATE_TOPICS || api == DESCRIBE_CONFIGS;
}

static rd_kafka_resp_err_t on_request(rd_kafka_t *rk, int fd, const char *broker, int32_t id,
	int16_t api, int16_t version, int32_t number, size_t size, void *opaque)
{
	struct liveness *l = opaque;

	(void)rk, (void)fd, (void)id, (void)version, (void)number, (void)size;
	if (api == API_VERSIONS)
		brokers_greeted(l->brokers, wake_now_ms(), broker);
	/* The broker answers these two when all members of the group have come. */
	if (!is_login(api) && api != JOIN_GROUP && api != SYNC_GROUP)
		brokers_asked(l->brokers, wake_now_ms(), api == FETCH ? l->fetch_wait_ms : 0);
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_response(rd_kafka_t *rk, int fd, const char *broker, int32_t id,
	int16_t api, int16_t version, int32_t number, size_t size, int64_t rtt,
	rd_kafka_resp_err_t err, void *opaque)
{
	struct liveness *l = opaque;
	bool news = false;

	(void)rk, (void)fd, (void)version, (void)number, (void)size, (void)rtt;
	if (!err && (api == METADATA || api == API_VERSIONS))
		l->changes++;
	if (api == API_VERSIONS)
		brokers_welcomed(l->brokers, broker);
	if (!err && api == API_VERSIONS)
		brokers_connected(l->brokers, broker);
	if (api == PRODUCE && (!err || err == RD_KAFKA_RESP_ERR__TRANSPORT))
		news = brokers_wrote(l->brokers, wake_now_ms(), broker, err);
	if (!err && !is_login(api))
		news |= brokers_answered(l->brokers, wake_now_ms(),
			is_of_controller(api) ? NULL : broker, is_of_controller(api) ? -1 : id);
	/* A full pipe wakes the loop, too. */
	if (news && write(l->wake_fd, "", 1) < 0)
		return RD_KAFKA_RESP_ERR_NO_ERROR;
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* An idempotent producer has one batch of a partition on its way (of batches of one message, five).
 * While there is more to send, the thread that sends it polls without waiting until the answer is
 * there (2.0.2 to 2.15.1: rd_kafka_toppar_producer_serve asks to be woken at once, and then returns
 * for what is on its way): a frozen broker costs a core, and one that is far away a part of it.
 *
 * librdkafka makes a pipe to wake the thread of each broker, and without one, which it does not say
 * (2.0.2), the thread looks for work once a second. */
static rd_kafka_resp_err_t on_thread(
	rd_kafka_t *rk, rd_kafka_thread_type_t type, const char *name, void *opaque)
{
	struct liveness *l = opaque;
	int fds[2];

	(void)name;
	if (type != RD_KAFKA_THREAD_BROKER)
		return RD_KAFKA_RESP_ERR_NO_ERROR;
	if (rd_kafka_type(rk) == RD_KAFKA_PRODUCER)
		spin_end();
	if (pipe2(fds, O_CLOEXEC) == 0) {
		close(fds[0]);
		close(fds[1]);
	} else if (msg_errno_is_limit(errno)) {
		l->lacks = errno;
		if (write(l->wake_fd, "", 1) < 0)
			return RD_KAFKA_RESP_ERR_NO_ERROR;
	}
	return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(
	rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque, char *why, size_t why_size)
{
	rd_kafka_resp_err_t err =
		rd_kafka_interceptor_add_on_request_sent(rk, "evpipe", on_request, opaque);

	(void)conf, (void)why, (void)why_size;
	if (!err)
		err = rd_kafka_interceptor_add_on_response_received(
			rk, "evpipe", on_response, opaque);
	return err ? err
		   : rd_kafka_interceptor_add_on_thread_start(rk, "evpipe", on_thread, opaque);
}

void liveness_watch(struct liveness *l, rd_kafka_conf_t *conf)
{
	rd_kafka_conf_interceptor_add_on_new(conf, "evpipe", on_new, l);
}
