/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The note that the asker keeps beside a log (storage.h P11). Nothing is flushed for it: after a
 * crash it may be an older one, or damaged, which is as if there were none.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "storage/log/log.h"

_Static_assert(sizeof(struct fmt_note) + ST_NOTE_MAX <= LOG_SCRATCH, "scratch holds any note");

static enum st_err note_store(struct log_env *env, const struct log *l, const struct st_req *r)
{
	char dir[IO_PATH_MAX];
	struct fmt_note head = {.topic_id = l->topic_id, .partition = l->partition};
	size_t length = sizeof(head) + r->note.size;
	memcpy(env->scratch, &head, sizeof(head));
	memcpy(env->scratch + sizeof(head), r->note.data, r->note.size);
	fmt_seal(env->scratch, length, FMT_NOTE_MAGIC);
	log_path(env, l, dir);
	int rc = file_store(env, dir, FMT_NOTE_NAME, env->scratch, length, FILE_LAZY);
	return rc < 0 ? ST_E_NOSPACE : ST_OK;
}

static enum st_err note_load(struct log_env *env, const struct log *l, struct st_req *r)
{
	char path[IO_PATH_MAX];
	void *p;
	size_t length;
	enum st_err err = ST_E_NOT_FOUND;
	log_path(env, l, path);
	size_t n = strlen(path);
	CHECK(n + sizeof("/" FMT_NOTE_NAME) <= sizeof(path));
	memcpy(path + n, "/" FMT_NOTE_NAME, sizeof("/" FMT_NOTE_NAME));
	if (file_load(env->io, path, sizeof(struct fmt_note) + r->note.size, &p, &length) < 0)
		return ST_E_NOT_FOUND;
	if (fmt_note_check(p, length, &l->topic_id, l->partition) == FMT_OK) {
		r->note.len = (uint32_t)(length - sizeof(struct fmt_note));
		memcpy(r->note.data, (uint8_t *)p + sizeof(struct fmt_note), r->note.len);
		err = ST_OK;
	}
	free(p);
	return err;
}

enum st_err log_note(struct log_env *env, const struct log *l, struct st_req *r)
{
	CHECK(r->note.size <= ST_NOTE_MAX);
	r->note.len = 0;
	if (!l->has_files)
		return ST_E_NOT_FOUND;
	return r->note.store ? note_store(env, l, r) : note_load(env, l, r);
}
