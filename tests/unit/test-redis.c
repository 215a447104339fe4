/* SPDX-License-Identifier: ISC */
/* A program's Redis: what becomes of each command, and the primary that a publisher's server must
 * be. */
#include "redis-pair.h"

#include "base/msg.h"

#include <errno.h>

#define MASTER "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"
#define REPLICA "*5\r\n$5\r\nslave\r\n$1\r\nh\r\n:1\r\n$9\r\nconnected\r\n:1\r\n"
#define SAY(fd, text) pair_say(fd, text, sizeof(text) - 1)

/* Sends @n commands with the tags from @tag on. */
static void publish(struct redis *r, uint64_t tag, int n)
{
	for (int i = 0; i < n; i++) {
		buf_puts(redis_begin(r, SPAN("c")), "PUBLISH c x\r\n");
		redis_commit(r, tag++);
	}
}

/* All that becomes of commands, as text. */
static const char *fates(struct redis *r)
{
	static char text[400];
	struct link_reply reply;
	enum redis_got got;
	size_t n = 0;

	text[0] = '\0';
	while ((got = redis_next(r, &reply)) != REDIS_NONE) {
		n += (size_t)snprintf(
			text + n, sizeof(text) - n, "%llu", (unsigned long long)reply.tag);
		if (got == REDIS_AGAIN)
			n += (size_t)snprintf(text + n, sizeof(text) - n, " again, ");
		else if (reply.value.type == RESP_INTEGER)
			n += (size_t)snprintf(
				text + n, sizeof(text) - n, "=%lld, ", (long long)reply.value.n);
		else
			n += (size_t)snprintf(text + n, sizeof(text) - n, "=%.*s, ",
				(int)reply.value.text.len, reply.value.text.p);
	}
	return text;
}

static void a_publishers_replies_wait_for_role(void **state)
{
	struct redis r;
	int fd = pair_client(&r, REDIS_PUBLISHER);

	(void)state;
	publish(&r, 10, 3);
	redis_flush(&r, 50);
	assert_null(strstr(pair_heard(fd), "ROLE"));
	assert_int_equal(redis_timeout_ms(&r, 50), 50);
	SAY(fd, ":1\r\n:0\r\n");
	assert_int_equal(pair_step(&r, POLLIN, 60), REDIS_SAME);
	assert_string_equal(fates(&r), "");
	redis_flush(&r, 60);
	assert_null(strstr(pair_heard(fd), "ROLE"));
	assert_int_equal(redis_timeout_ms(&r, 60), 40);
	SAY(fd, ":2\r\n"); /* all are answered: none comes that would keep ROLE company */
	assert_int_equal(pair_step(&r, POLLIN, 60), REDIS_SAME);
	assert_string_equal(fates(&r), "");
	assert_int_equal(redis_timeout_ms(&r, 60), 0);
	redis_flush(&r, 60);
	assert_non_null(strstr(pair_heard(fd), "ROLE"));
	publish(&r, 13, 1);
	redis_flush(&r, 300); /* one ROLE at a time */
	assert_null(strstr(pair_heard(fd), "ROLE"));
	SAY(fd, MASTER ":5\r\n");
	pair_step(&r, POLLIN, 300);
	assert_string_equal(fates(&r), "10=1, 11=0, 12=2, ");
	redis_flush(&r, 300);
	assert_non_null(strstr(pair_heard(fd), "ROLE"));
	SAY(fd, MASTER);
	pair_step(&r, POLLIN, 300);
	assert_string_equal(fates(&r), "13=5, ");
	assert_int_equal(redis_timeout_ms(&r, 300), 5000);
	redis_close(&r);
	close(fd);
}

static void role_is_asked_for_sooner_when_much_was_sent_or_no_more_comes(void **state)
{
	struct redis r;
	int fd = pair_client(&r, REDIS_PUBLISHER);

	(void)state;
	publish(&r, 0, 1023);
	redis_flush(&r, 1);
	assert_false(r.node.role_sent);
	publish(&r, 1023, 1);
	redis_flush(&r, 1);
	assert_true(r.node.role_sent);
	redis_close(&r);
	close(fd);
	fd = pair_client(&r, REDIS_PUBLISHER);
	publish(&r, 0, 1);
	redis_hurry(&r);
	redis_flush(&r, 1);
	assert_true(r.node.role_sent);
	redis_close(&r);
	close(fd);
}

static void an_error_comes_at_once(void **state)
{
	struct redis r;
	int fd = pair_client(&r, REDIS_PUBLISHER);

	(void)state;
	publish(&r, 1, 3);
	redis_flush(&r, 0);
	SAY(fd, ":1\r\n-ERR no\r\n:1\r\n");
	pair_step(&r, POLLIN, 0);
	assert_string_equal(fates(&r), "2=ERR no, ");
	redis_close(&r);
	close(fd);
}

static void what_a_lost_connection_leaves_is_to_be_sent_again(void **state)
{
	struct redis r;
	int fd = pair_client(&r, REDIS_PUBLISHER);

	(void)state;
	publish(&r, 1, 2);
	redis_hurry(&r);
	redis_flush(&r, 0);
	publish(&r, 3, 4);
	redis_flush(&r, 0);
	SAY(fd, ":1\r\n:1\r\n" MASTER ":1\r\n:1\r\n");
	pair_step(&r, POLLIN, 0);
	close(fd);
	assert_string_equal(fates(&r), "1=1, 2=1, ");
	assert_int_equal(pair_step(&r, POLLIN, 0), REDIS_WENT);
	assert_int_equal(r.state, REDIS_AWAY);
	assert_null(redis_begin(&r, SPAN("c")));
	/* Nothing is dialled before the caller knows what was lost. */
	pair_step(&r, 0, 0);
	assert_int_equal(r.node.link.state, LINK_DOWN);
	assert_string_equal(fates(&r), "3 again, 4 again, 5 again, 6 again, ");
	pair_step(&r, 0, 0);
	assert_int_equal(r.node.link.state, LINK_DIALING);
	assert_string_equal(fates(&r), "");
	redis_close(&r);
}

static void a_replica_takes_back_what_it_answered(void **state)
{
	struct redis r;
	int fd = pair_client(&r, REDIS_PUBLISHER);

	(void)state;
	publish(&r, 1, 2);
	redis_hurry(&r);
	redis_flush(&r, 0);
	SAY(fd, ":1\r\n:1\r\n" REPLICA);
	pair_step(&r, POLLIN, 0);
	assert_string_equal(fates(&r), "1 again, 2 again, ");
	assert_int_equal(r.state, REDIS_AWAY);
	assert_int_equal(pair_step(&r, 0, 0), REDIS_WENT);
	redis_close(&r);
	close(fd);
}

static void a_publisher_that_may_not_wait_is_refused(void **state)
{
	struct redis r;
	int fd = pair_client(&r, REDIS_PUBLISHER);

	(void)state;
	redis_wait(&r, 1);
	publish(&r, 1, 1);
	redis_hurry(&r);
	redis_flush(&r, 0);
	SAY(fd, ":1\r\n-NOPERM no\r\n" MASTER);
	pair_step(&r, POLLIN, 0);
	assert_string_equal(fates(&r), "1 again, ");
	assert_int_equal(pair_step(&r, 0, 0), REDIS_FAILED);
	assert_string_equal(r.trouble.text,
		"redis at test refuses WAIT, which --wait needs: NOPERM no; allow it to user 'default' with ACL SETUSER");
	redis_close(&r);
	close(fd);
	/* A replica says so by ROLE: another one may be the primary now. */
	fd = pair_client(&r, REDIS_PUBLISHER);
	redis_wait(&r, 1);
	publish(&r, 1, 1);
	redis_hurry(&r);
	redis_flush(&r, 0);
	SAY(fd, ":1\r\n-ERR WAIT cannot be used with replica instances.\r\n" REPLICA);
	pair_step(&r, POLLIN, 0);
	assert_string_equal(fates(&r), "1 again, ");
	assert_int_equal(pair_step(&r, 0, 0), REDIS_WENT);
	redis_close(&r);
	close(fd);
}

/* A publisher is up only once its server has said that it is a primary. */
static void a_publisher_comes_with_its_first_role(void **state)
{
	static const struct {
		const char *says;
		enum redis_news news;
		enum redis_state state;
		const char *trouble;
	} rows[] = {
		{MASTER "+PONG\r\n", REDIS_CAME, REDIS_UP, ""},
		{"-ERR unknown command 'ROLE'\r\n+PONG\r\n", REDIS_CAME, REDIS_UP, ""},
		{MASTER "-MISCONF no\r\n", REDIS_CAME, REDIS_UP, ""},
		{MASTER "-LOADING wait\r\n", REDIS_SAME, REDIS_AWAY, ""},
		{REPLICA, REDIS_SAME, REDIS_AWAY, ""},
		{"-LOADING\r\n", REDIS_SAME, REDIS_AWAY, ""},
		{"*2\r\n$8\r\nsentinel\r\n*0\r\n", REDIS_FAILED, REDIS_REFUSED,
			"redis at test is a sentinel: name the server itself, or all sentinels with "
			"redis+sentinel://"},
		{"-NOPERM this user has no permissions\r\n", REDIS_FAILED, REDIS_REFUSED,
			"redis at test refuses ROLE: NOPERM this user has no permissions; allow it to "
			"user 'default' with ACL SETUSER"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct redis r;
		int fd = pair_client(&r, REDIS_PUBLISHER);

		r.state = REDIS_AWAY;
		r.node.up = false;
		r.node.link.news = LINK_CAME;
		assert_int_equal(pair_step(&r, 0, 0), REDIS_SAME);
		assert_int_equal(r.state, REDIS_AWAY);
		assert_false(r.reachable);
		redis_flush(&r, 0);
		assert_string_equal(pair_heard(fd), "*1\r\n$4\r\nROLE\r\n*1\r\n$4\r\nPING\r\n");
		assert_int_equal(redis_timeout_ms(&r, 0), 5000);
		pair_say(fd, rows[i].says, strlen(rows[i].says));
		assert_int_equal(pair_step(&r, POLLIN, 0), rows[i].news);
		assert_int_equal(r.state, rows[i].state);
		assert_int_equal(r.reachable, rows[i].state == REDIS_UP);
		assert_string_equal(r.trouble.text, rows[i].trouble);
		redis_close(&r);
		close(fd);
	}
}

static void an_error_too_answers_a_keep_alive(void **state)
{
	struct redis r;
	int fd = pair_client(&r, REDIS_COMMANDS);

	(void)state;
	assert_int_equal(pair_step(&r, 0, 5000), REDIS_SAME);
	redis_flush(&r, 5000);
	assert_string_equal(pair_heard(fd), "*1\r\n$4\r\nPING\r\n");
	pair_step(&r, 0, 6000);
	assert_false(r.reachable);
	SAY(fd, "-MISCONF no\r\n");
	pair_step(&r, POLLIN, 6500);
	assert_string_equal(fates(&r), "");
	assert_int_equal(r.state, REDIS_UP);
	assert_true(r.reachable);
	redis_close(&r);
	close(fd);
}

static void a_reason_to_leave_takes_back_what_is_unanswered(void **state)
{
	struct redis r;
	int fd = pair_client(&r, REDIS_COMMANDS);

	(void)state;
	redis_command(&r, SPAN("k"), 4, 2, (const char *const[]){"GET", "k"});
	redis_command(&r, SPAN("k"), 5, 2, (const char *const[]){"GET", "k"});
	redis_flush(&r, 0);
	SAY(fd, "-LOADING\r\n");
	pair_step(&r, POLLIN, 0);
	assert_string_equal(fates(&r), "4=LOADING, ");
	redis_lose(&r, SPAN("LOADING"));
	assert_string_equal(fates(&r), "5 again, ");
	assert_int_equal(pair_step(&r, 0, 0), REDIS_WENT);
	redis_close(&r);
	close(fd);
}

/* What befalls every record is no record's fault. */
static void an_error_is_of_the_command_the_server_or_the_configuration(void **state)
{
	static const struct {
		const char *error;
		enum redis_fault fault;
	} rows[] = {
		{"ERR syntax error", REDIS_FAULT_COMMAND},
		{"WRONGTYPE Operation against a key", REDIS_FAULT_COMMAND},
		{"BUSYGROUP Consumer Group name already exists", REDIS_FAULT_COMMAND},
		{"BUSY Redis is busy running a script.", REDIS_FAULT_AWAY},
		{"LOADING Redis is loading the dataset in memory", REDIS_FAULT_AWAY},
		{"READONLY You can't write against a read only replica.", REDIS_FAULT_AWAY},
		{"OOM command not allowed when used memory > 'maxmemory'.", REDIS_FAULT_AWAY},
		{"MISCONF Redis is configured to save RDB snapshots", REDIS_FAULT_AWAY},
		{"NOREPLICAS Not enough good replicas to write.", REDIS_FAULT_AWAY},
		{"MASTERDOWN Link with MASTER is down", REDIS_FAULT_AWAY},
		{"TRYAGAIN Multiple keys request during rehashing of slot", REDIS_FAULT_AWAY},
		{"UNBLOCKED force unblock from blocking operation", REDIS_FAULT_AWAY},
		{"EXECABORT Transaction discarded because of previous errors.", REDIS_FAULT_AWAY},
		{"CLUSTERDOWN Hash slot not served", REDIS_FAULT_AWAY},
		{"ERR Error running script (call to f_0d9c): @user_script:1: @user_script: 1: -OOM command not allowed",
			REDIS_FAULT_AWAY},
		{"ERR Error running script (call to f_0d9c): @user_script:1: -NOREPLICAS Not enough good replicas",
			REDIS_FAULT_AWAY},
		{"@user_script: 1: -READONLY You can't write against a read only replica.",
			REDIS_FAULT_AWAY},
		{"ERR Error running script (call to f_0d9c): @user_script:1: WRONGTYPE Operation against a key",
			REDIS_FAULT_COMMAND},
		{"ERR Error running script (call to f_0d9c): @user_script:", REDIS_FAULT_COMMAND},
		{"OOM command not allowed when used memory > 'maxmemory'. script: 0d9c, on @user_script:1.",
			REDIS_FAULT_AWAY},
		{"ERR The user executing the script can't run this command or subcommand script: 0d9c, on @user_script:1.",
			REDIS_FAULT_CONFIG},
		{"ERR Error running script (call to f_0d9c): @user_script:1: The user executing the script can't access",
			REDIS_FAULT_CONFIG},
		{"NOAUTH Authentication required.", REDIS_FAULT_CONFIG},
		{"MOVED 3999 127.0.0.1:6381", REDIS_FAULT_CONFIG},
		{"ASK 3999 127.0.0.1:6381", REDIS_FAULT_CONFIG},
		{"CROSSSLOT Keys in request don't hash to the same slot", REDIS_FAULT_CONFIG},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_int_equal(redis_fault((struct span){rows[i].error, strlen(rows[i].error)}),
			rows[i].fault);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_publishers_replies_wait_for_role),
		cmocka_unit_test(role_is_asked_for_sooner_when_much_was_sent_or_no_more_comes),
		cmocka_unit_test(an_error_comes_at_once),
		cmocka_unit_test(what_a_lost_connection_leaves_is_to_be_sent_again),
		cmocka_unit_test(a_replica_takes_back_what_it_answered),
		cmocka_unit_test(a_publisher_that_may_not_wait_is_refused),
		cmocka_unit_test(a_publisher_comes_with_its_first_role),
		cmocka_unit_test(an_error_too_answers_a_keep_alive),
		cmocka_unit_test(a_reason_to_leave_takes_back_what_is_unanswered),
		cmocka_unit_test(an_error_is_of_the_command_the_server_or_the_configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
