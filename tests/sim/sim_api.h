/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_API_H
#define MR_TESTS_SIM_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "storage/storage.h"
#include "storage/worker/io.h"

/*
 * The storage as the simulator drives it: store and engine in one. All that the simulator knows of
 * how they are opened, stepped and closed is in sim_api.c.
 */
struct sim_api {
	struct io *io;
	struct store *store;
	struct engine *engine;
};

struct sim_api_config {
	struct io *io;
	char (*dirs)[256];
	uint16_t dir_count;
	uint64_t seed; /* of ids on disk */
	uint32_t max_logs;
	uint64_t journal_bytes;
	uint8_t *staging; /* SIM_API_STAGING bytes, 4096-aligned, borrowed */
};

#define SIM_API_STAGING (32u * 1024u * 1024u) /* of address space; little of it is touched */
/* False and a sentence in err: the start was refused, or the machine stopped. */
bool sim_api_start(struct sim_api *a, const struct sim_api_config *cfg, char *err, size_t err_size);
void sim_api_ask(struct sim_api *a, struct st_req *r);
void sim_api_step(struct sim_api *a, int64_t now_ms, uint64_t now_us, struct list *done);
bool sim_api_is_idle(const struct sim_api *a);
/* Milliseconds after which it wants to be stepped though nothing has happened; 0: never. */
uint32_t sim_api_wait_ms(const struct sim_api *a);
/* Clean stop of an idle engine: begin, step until it is stopped, close. True: all was healthy. */
void sim_api_stop(struct sim_api *a);
bool sim_api_is_stopped(const struct sim_api *a);
bool sim_api_close(struct sim_api *a);
/* The process has died: frees what it had. */
void sim_api_drop(struct sim_api *a);

#endif
