/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_api.h"

#include "storage/log/store.h"
#include "storage/worker/engine.h"

bool sim_api_start(struct sim_api *a, const struct sim_api_config *cfg, char *err, size_t err_size)
{
	*a = (struct sim_api){.io = cfg->io};
	a->store = store_open(cfg->io, cfg->dirs, cfg->dir_count, cfg->seed, err, err_size);
	if (!a->store)
		return false;
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
}

bool sim_api_is_idle(const struct sim_api *a)
{
	return engine_is_idle(a->engine);
}

uint32_t sim_api_wait_ms(const struct sim_api *a)
{
	return 0;
}

void sim_api_stop(struct sim_api *a)
{
}

bool sim_api_is_stopped(const struct sim_api *a)
{
	return true;
}

bool sim_api_close(struct sim_api *a)
{
	bool clean = engine_close(a->engine);
	engine_marks(a->engine);
	engine_destroy(a->engine);
	clean = clean && !store_any_offline(a->store);
	store_close(a->store, a->io, clean);
	*a = (struct sim_api){.io = a->io};
	return clean;
}

void sim_api_drop(struct sim_api *a)
{
	engine_destroy(a->engine);
	if (a->store)
		store_close(a->store, a->io, false);
	*a = (struct sim_api){.io = a->io};
}
