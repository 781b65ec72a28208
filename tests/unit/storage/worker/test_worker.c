/* SPDX-License-Identifier: Apache-2.0 */
/* The storage worker as its askers see it: real files, real io_uring, a thread. */
#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "unit/storage/kit.h"

#define LOGS 20

struct fixture {
	char dirs[1][256];
	struct kit kit; /* blocks and batches; its engine is not used */
	struct st_dirs *held;
	struct st_worker *worker;
	struct waker waker;
};

static void remove_tree(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	while (d && (e = readdir(d))) {
		char name[1024];
		struct stat st;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(name, sizeof(name), "%.500s/%.255s", path, e->d_name);
		if (stat(name, &st) == 0 && S_ISDIR(st.st_mode))
			remove_tree(name);
		else
			unlink(name);
	}
	if (d)
		closedir(d);
	rmdir(path);
}

/* A new directory beside this program: a real filesystem, not /tmp. */
static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	ssize_t n = readlink("/proc/self/exe", f->dirs[0], 200);
	assert_true(n > 0);
	f->dirs[0][n] = 0;
	char *name = strrchr(f->dirs[0], '/');
	snprintf(name, 50, "/worker-XXXXXX");
	assert_non_null(mkdtemp(f->dirs[0]));
	snprintf(name + strlen(name), 10, "/a/b"); /* missing ones are made */
	kit_init(&f->kit, NULL, f->dirs[0]);
	assert_int_equal(waker_init(&f->waker), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	f->dirs[0][strlen(f->dirs[0]) - 4] = 0;
	remove_tree(f->dirs[0]);
	waker_fini(&f->waker);
	kit_fini(&f->kit);
	free(f);
	return 0;
}

static struct st_config config_of(struct fixture *f)
{
	return (struct st_config){
		.dirs = f->dirs,
		.dir_count = 1,
		.log_memory = f->kit.memory,
		.log_bytes = (size_t)KIT_BLOCKS * LBLOCK_SIZE,
		.askers = 2,
		.workers = 1,
		.max_logs = 100,
		.journal_bytes = 1 << 20,
		.cleaner_bytes_per_s = UINT64_MAX,
		.cleaner_map_bytes = 1 << 20,
		.cpu = -1,
	};
}

static void open_worker(struct fixture *f)
{
	char err[512] = "";
	const struct st_config cfg = config_of(f);
	f->held = st_dirs_open(&cfg, err, sizeof(err));
	if (!f->held)
		fail_msg("%s", err);
	f->worker = st_worker_open(&cfg, f->held, err, sizeof(err));
	if (!f->worker)
		fail_msg("%s", err);
	st_set_waker(f->worker, 1, &f->waker);
}

static void start(struct fixture *f)
{
	open_worker(f);
	assert_int_equal(st_worker_start(f->worker), 0);
}

static void stop(struct fixture *f)
{
	assert_true(st_worker_stop(f->worker));
	st_dirs_close(f->held);
	kit_release(&f->kit, NULL, (struct st_pos){0});
}

/* Waits for n answers to asker 1, as a shard does. */
static void await(struct fixture *f, uint32_t n)
{
	struct st_req *got[64];
	while (n > 0) {
		uint32_t some = st_pop(f->worker, 1, got, min_of(n, 64u));
		n -= some;
		if (some > 0)
			continue;
		waker_arm(&f->waker);
		some = st_pop(f->worker, 1, got, min_of(n, 64u));
		if (some == 0) {
			struct pollfd p = {.fd = f->waker.fd, .events = POLLIN};
			poll(&p, 1, -1);
		}
		waker_disarm(&f->waker);
		n -= some;
	}
}

static void push(struct fixture *f, struct st_req *r)
{
	assert_true(st_push(f->worker, 1, r));
	st_notify(f->worker);
}

static enum st_err ask(struct fixture *f, struct st_req *r)
{
	push(f, r);
	await(f, 1);
	return r->err;
}

static enum st_err open_log(struct fixture *f, struct kit_log *l, int id, bool create)
{
	memset(l, 0, sizeof(*l));
	struct st_req *r = &l->opened;
	r->op = ST_OPEN;
	snprintf(r->open.topic, sizeof(r->open.topic), "topic");
	memset(r->open.topic_id.b, 0x77, sizeof(r->open.topic_id.b));
	r->open.partition = id;
	r->open.create = create;
	if (ask(f, r) != ST_OK)
		return r->err;
	l->log = r->log;
	l->segment = r->open.segment;
	l->pos = r->open.segment_pos;
	l->next_offset = r->open.log_end_offset;
	if (l->pos % LBLOCK_SIZE == 0)
		return ST_OK;
	l->tail = lblock_get(&f->kit.blocks);
	struct st_req t = {.op = ST_TAIL, .log = l->log, .tail = {.block = l->tail}};
	return ask(f, &t);
}

/* Reads everything, checks that it is what kit_batch makes. */
static void verify(struct fixture *f, struct kit_log *l)
{
	struct lblock *chain = lblock_get_chain(&f->kit.blocks, 40);
	for (int64_t offset = 0; offset < l->next_offset;) {
		struct st_req r = {.op = ST_READ, .log = l->log};
		r.read.offset = offset;
		r.read.limit = l->next_offset;
		r.read.max_bytes = 400000;
		r.read.blocks = chain;
		r.read.block_count = 40;
		assert_int_equal(ask(f, &r), ST_OK);
		uint8_t *p = kit_buffer();
		lspan_copy(r.read.span, 0, p, r.read.span.len);
		for (uint32_t at = 0; at < r.read.span.len; at += batch_size(p + at)) {
			struct batch_iter it;
			struct batch_record rec;
			assert_true(batch_crc_ok(p + at));
			assert_int_equal(batch_base_offset(p + at), offset);
			assert_int_equal(
				batch_iter_init(&it, p + at, r.read.span.len - at, NULL), 0);
			while (batch_iter_next(&it, &rec) == 1)
				assert_true(
					rec.value.len == 0 || rec.value.p[0] == (uint8_t)offset);
			offset = batch_next_offset(p + at);
		}
	}
	for (struct lblock *b = chain, *next; b; b = next) {
		next = b->next;
		lblock_unref(&f->kit.blocks, b);
	}
}

static void test_worker_appends_of_many_logs_survive_a_clean_stop(void **state)
{
	struct fixture *f = *state;
	struct kit_log l[LOGS];
	struct st_req r[LOGS][4];
	start(f);
	assert_true(st_dirs_clean(f->held));
	for (int i = 0; i < LOGS; i++)
		assert_int_equal(open_log(f, &l[i], i, true), ST_OK);
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < LOGS; i++) {
			for (int j = 0; j < 4; j++) {
				uint32_t n = kit_batch(kit_buffer(), 1 << 20, l[i].next_offset, 2,
					(uint32_t)(i * 211 + j * 1009 + round), 1);
				kit_append_req(&f->kit, &l[i], &r[i][j], kit_buffer(), n,
					round == 5 && j == 0);
				push(f, &r[i][j]);
			}
		}
		await(f, LOGS * 4);
		for (int i = 0; i < LOGS; i++) {
			for (int j = 0; j < 4; j++) {
				assert_int_equal(r[i][j].err, ST_OK);
				kit_keep(&f->kit, &r[i][j]);
			}
		}
	}
	const struct st_metrics *m = st_worker_metrics(f->worker);
	assert_int_equal(metric_get(&m->appends_total), LOGS * 4 * 10);
	for (int i = 0; i < LOGS; i++) {
		verify(f, &l[i]);
		kit_drop(&f->kit, &l[i]);
	}
	stop(f);
	start(f);
	assert_true(st_dirs_clean(f->held));
	for (int i = 0; i < LOGS; i++) {
		assert_int_equal(open_log(f, &l[i], i, false), ST_OK);
		assert_false(l[i].opened.open.recovered);
		assert_int_equal(l[i].next_offset, 80);
		verify(f, &l[i]);
		kit_drop(&f->kit, &l[i]);
	}
	stop(f);
}

static void test_worker_log_can_be_deleted_and_made_again(void **state)
{
	struct fixture *f = *state;
	struct kit_log l;
	start(f);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(open_log(f, &l, 0, true), ST_OK);
		assert_int_equal(l.next_offset, 0);
		struct st_req r;
		uint32_t n = kit_batch(kit_buffer(), 1 << 20, 0, 1, 100000, 1);
		kit_append_req(&f->kit, &l, &r, kit_buffer(), n, false);
		assert_int_equal(ask(f, &r), ST_OK);
		kit_keep(&f->kit, &r);
		kit_drop(&f->kit, &l);
		struct st_req d = {.op = ST_DELETE, .log = l.log};
		assert_int_equal(ask(f, &d), ST_OK);
		kit_release(&f->kit, r.log, (struct st_pos){.segment = INT64_MAX});
		assert_int_equal(open_log(f, &l, 0, false), ST_E_NOT_FOUND);
	}
	stop(f);
}

static void test_worker_takes_as_many_requests_as_an_asker_may_have(void **state)
{
	struct fixture *f = *state;
	struct st_req *reqs = calloc(ST_ASKER_REQS, sizeof(*reqs));
	open_worker(f);
	for (uint32_t i = 0; i < ST_ASKER_REQS; i++) {
		reqs[i].op = ST_OPEN;
		reqs[i].open.topic[0] = 't';
		reqs[i].open.topic_id.b[0] = 1;
		reqs[i].open.partition = (int32_t)i;
		assert_true(st_push(f->worker, 1, &reqs[i]));
	}
	assert_int_equal(st_worker_start(f->worker), 0);
	st_notify(f->worker);
	await(f, ST_ASKER_REQS);
	for (uint32_t i = 0; i < ST_ASKER_REQS; i++)
		assert_int_equal(reqs[i].err, ST_E_NOT_FOUND);
	stop(f);
	free(reqs);
}

static void test_worker_directory_in_use_is_refused_with_a_sentence(void **state)
{
	struct fixture *f = *state;
	char err[512] = "";
	start(f);
	const struct st_config cfg = config_of(f);
	assert_null(st_dirs_open(&cfg, err, sizeof(err)));
	assert_non_null(strstr(err, "another broker is using it"));
	stop(f);
	start(f); /* and free again afterwards */
	stop(f);
}

static void test_worker_directory_that_cannot_be_made_is_refused(void **state)
{
	char dirs[2][256] = {"/proc/no/such", "relative/path"};
	char err[512] = "";
	struct st_config cfg = config_of(*state);
	cfg.dirs = dirs;
	assert_null(st_dirs_open(&cfg, err, sizeof(err)));
	assert_non_null(strstr(err, "/proc/no/such"));
	assert_non_null(strstr(err, "cannot create it"));
	cfg.dirs = dirs + 1;
	assert_null(st_dirs_open(&cfg, err, sizeof(err)));
	assert_non_null(strstr(err, "absolute"));
}

/* Lets io_uring_setup fail, as a container's seccomp profile does. */
static void forbid_io_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog prog = {.len = array_size(code), .filter = code};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
		prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
		_exit(2);
}

static void test_worker_says_what_to_do_when_io_uring_is_forbidden(void **state)
{
	struct fixture *f = *state;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char err[512] = "";
		const struct st_config cfg = config_of(f);
		forbid_io_uring();
		struct st_dirs *d = st_dirs_open(&cfg, err, sizeof(err));
		if (!d || st_worker_open(&cfg, d, err, sizeof(err)))
			_exit(3);
		_exit(strstr(err, "io_uring is forbidden") && strstr(err, "seccomp") ? 0 : 4);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* Appends to three logs as fast as it can; writes {partition, next offset} to the pipe after each
 * answer. */
static void child(struct fixture *f, int out)
{
	struct kit_log l[3];
	start(f);
	for (int i = 0; i < 3; i++)
		if (open_log(f, &l[i], i, true) != ST_OK)
			_exit(3);
	for (uint32_t n = 0;; n++) {
		struct st_req r[3];
		for (int i = 0; i < 3; i++) {
			uint32_t size = kit_batch(
				kit_buffer(), 1 << 20, l[i].next_offset, 1, n * 977 % 40000, 1);
			bool roll = n % 50 == 49 && l[i].pos > 0;
			kit_append_req(&f->kit, &l[i], &r[i], kit_buffer(), size, roll);
			push(f, &r[i]);
		}
		await(f, 3);
		for (int i = 0; i < 3; i++) {
			int64_t acked[2] = {i, l[i].next_offset};
			if (r[i].err != ST_OK || write(out, acked, sizeof(acked)) != sizeof(acked))
				_exit(4);
			kit_keep(&f->kit, &r[i]);
		}
	}
}

static void test_worker_killed_at_any_time_keeps_what_it_acknowledged(void **state)
{
	struct fixture *f = *state;
	int64_t acked[3] = {0};
	for (int round = 0; round < 8; round++) {
		int fds[2];
		assert_int_equal(pipe(fds), 0);
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			close(fds[0]);
			child(f, fds[1]);
		}
		close(fds[1]);
		int64_t got[2];
		for (int n = 0; n < 37 * (round + 1); n++) {
			if (read(fds[0], got, sizeof(got)) != sizeof(got))
				break;
			acked[got[0]] = got[1];
		}
		kill(pid, SIGKILL);
		while (read(fds[0], got, sizeof(got)) == sizeof(got))
			acked[got[0]] = got[1];
		close(fds[0]);
		int status;
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));
		start(f);
		for (int i = 0; i < 3; i++) {
			struct kit_log l;
			enum st_err err = open_log(f, &l, i, false);
			assert_true(err == ST_OK || (err == ST_E_NOT_FOUND && acked[i] == 0));
			if (err != ST_OK)
				continue;
			assert_true(l.next_offset >= acked[i]);
			verify(f, &l);
			kit_drop(&f->kit, &l);
		}
		stop(f);
	}
	assert_true(acked[0] > 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_worker_appends_of_many_logs_survive_a_clean_stop),
		T(test_worker_log_can_be_deleted_and_made_again),
		T(test_worker_takes_as_many_requests_as_an_asker_may_have),
		T(test_worker_directory_in_use_is_refused_with_a_sentence),
		T(test_worker_directory_that_cannot_be_made_is_refused),
		T(test_worker_says_what_to_do_when_io_uring_is_forbidden),
		T(test_worker_killed_at_any_time_keeps_what_it_acknowledged),
	};
	kit_be_quiet();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
