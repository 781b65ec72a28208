/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_STORAGE_LOG_STORE_H
#define MR_STORAGE_LOG_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/format/format.h"
#include "storage/worker/io.h"

/*
 * The log directories of one process: their identity, and what is known about their logs from the
 * last clean stop. Opened before and closed after all engines, by one thread; in between the
 * engines of several threads share it: what they may write is said at each function.
 *
 * A start reads the clean-stop marker of each directory, removes it and flushes the removal before
 * anything else happens, so that a marker is only ever believed once (KAFKA-10471). It also
 * finishes deletions that a crash had cut off.
 */
struct store;

/*
 * Opens `count` directories, creating what is missing. `seed` makes the ids of new directories
 * (random in production). NULL and a sentence in err: not readable, not writable, foreign format
 * version, damaged meta file, the same directory twice.
 */
struct store *store_open(struct io *io, char (*dirs)[256], uint16_t count, uint64_t seed, char *err,
	size_t err_size);
/* True when each directory was stopped cleanly or is new. */
bool store_is_clean(const struct store *s);
/* Logs in the directories when they were opened. */
uint32_t store_log_count(const struct store *s);
uint16_t store_dir_count(const struct store *s);
/* Absolute path; borrowed. */
const char *store_dir_path(const struct store *s, uint16_t dir);

/* Any engine's thread: the directory's device failed. It stays offline until the process ends. */
void store_set_offline(struct store *s, uint16_t dir);
bool store_is_offline(const struct store *s, uint16_t dir);
bool store_any_offline(const struct store *s);

/*
 * The thread of the engine that owns the log: takes what the last clean stop says about a log. Once
 * only: false afterwards, and when there is nothing.
 */
bool store_take_clean(struct store *s, uint16_t dir, const struct uuid *topic_id, int32_t partition,
	struct fmt_clean_log *out);
/* The opener's thread, when no engine runs: a log was closed cleanly like this. 0 or -ENOMEM. */
int store_put_clean(struct store *s, uint16_t dir, const struct fmt_clean_log *log);

/*
 * The opener's thread, when no engine runs. With clean = true writes the markers (of directories
 * that are not offline): the logs given by store_put_clean, and those that no engine took. Frees s.
 */
void store_close(struct store *s, struct io *io, bool clean);

#endif
