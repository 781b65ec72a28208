/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_api.h"

#include "storage/log/store.h"
#include "storage/worker/engine.h"

bool sim_api_start(struct sim_api *a, const struct sim_api_config *cfg, char *err, size_t err_size)
{
	*a = (struct sim_api){.io = cfg->io};
	const struct store_config s = {
		.dirs = cfg->dirs,
		.dir_count = cfg->dir_count,
		.workers = 1,
		.journal_bytes = cfg->journal_bytes,
		.seed = cfg->seed,
	};
	a->store = store_open(cfg->io, &s, err, err_size);
	if (!a->store)
		return false;
	CHECK(engine_staging_size(cfg->dir_count) <= SIM_API_STAGING);
	const struct engine_config e = {
		.durability = ST_FLUSH, .max_logs = cfg->max_logs, .staging = cfg->staging};
	a->engine = engine_create(cfg->io, a->store, &e);
	CHECK(a->engine);
	return true;
}

void sim_api_ask(struct sim_api *a, struct st_req *r)
{
	engine_request(a->engine, r);
}

void sim_api_step(struct sim_api *a, int64_t now_ms, uint64_t now_us, struct list *done)
{
	engine_step(a->engine, now_ms, done);
	engine_check(a->engine);
}

bool sim_api_is_idle(const struct sim_api *a)
{
	return engine_is_idle(a->engine);
}

uint32_t sim_api_wait_ms(const struct sim_api *a)
{
	return engine_wait_ms(a->engine);
}

void sim_api_stop(struct sim_api *a)
{
	engine_stop(a->engine);
}

bool sim_api_is_stopped(const struct sim_api *a)
{
	return engine_is_stopped(a->engine);
}

bool sim_api_close(struct sim_api *a)
{
	bool clean = engine_is_clean(a->engine);
	sim_api_drop(a);
	return clean;
}

void sim_api_drop(struct sim_api *a)
{
	engine_destroy(a->engine);
	if (a->store)
		store_close(a->store);
	*a = (struct sim_api){.io = a->io};
}
