/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_H
#define MR_TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/prng.h"
#include "partition/part.h"
#include "sim_check.h"
#include "sim_disk.h"
#include "sim_shim.h"
#include "sim_api.h"

/*
 * A broker without threads, sockets and clocks: partition cores and the storage engine over a
 * simulated disk, with simulated clients, in virtual time. Everything comes from one seed.
 *
 *   clients (sim_client.c) ──ops──► partitions ──st_req──► engine ──io──► shim ──► disk
 * (sim_disk.c) └──────── what they see ──► checker (sim_check.c)
 */

#define SIM_PARTS CHK_PARTS
#define SIM_CLIENTS 12
#define SIM_CALLS 96
#define SIM_COPIES 256
#define SIM_DIRS 2
#define SIM_PATIENCE_US 50000 /* a cold fetch may end empty after this time */

enum sim_end { SIM_POWER, SIM_KILL, SIM_CLEAN };

/* How batches are made. */
enum sim_sizes { SIZES_SMALL, SIZES_PAGES, SIZES_MIXED, SIZES_LARGE, SIZES_COUNT };

/* Each seed has its own mixture. */
struct sim_mix {
	uint32_t parts, dirs, blocks, reqs;
	uint32_t producers, fetchers; /* and one client that lists offsets */
	struct part_config config;
	enum sim_sizes sizes;
	uint32_t page_size;  /* SIZES_PAGES: batches are whole multiples or parts of a page */
	uint32_t compressed; /* of 8 batches, how many */
	enum codec codec;
	struct sim_disk_faults faults;
	uint32_t think_us;
	uint32_t hold_us;
	uint32_t ring_us; /* delay between shard and engine */
	uint64_t journal_bytes;
	uint32_t lives; /* how often the broker is started */
	uint32_t calls; /* client calls in one life, about */
	uint32_t clean_in_8, kill_in_8;
	bool crash_in_recovery;
	uint64_t note_bytes;	   /* after which a note of the producers is kept */
	uint32_t trims, deletions; /* one call in so many; 0: none */
	int64_t retention_bytes;   /* -1: none */
};

enum client_kind { CLIENT_PRODUCER, CLIENT_ONCE, CLIENT_FETCHER, CLIENT_FOLLOWER, CLIENT_LISTER };

/* Whether a partition is there for its clients. */
enum part_life {
	PART_UP,
	PART_ENDING,   /* its operations end */
	PART_DELETING, /* ST_DELETE is under way */
	PART_COMING,   /* it is created anew */
};

#define ONCE_WINDOW 5u

/* A batch of an idempotent producer that is not acknowledged yet; the checker's attempt. */
struct once_batch {
	uint32_t attempt;
	bool sent, out, acked;
};

struct client {
	enum client_kind kind;
	uint32_t index;
	uint32_t in_flight, in_flight_max;
	uint64_t next_us;
	/* producer */
	uint64_t number;       /* of its next batch */
	uint64_t retry_number; /* to be sent again, with retry_part */
	uint32_t retry_part;
	bool retry;
	/* idempotent producer, to `part` */
	struct once_batch window[ONCE_WINDOW];
	uint32_t window_count;
	int32_t sequence;
	/* follower */
	uint32_t part;
	int64_t offset;
};

/* One operation of a client. */
struct call {
	struct part_op op;
	struct client *client; /* NULL: free */
	uint32_t part;
	uint32_t attempt;
	uint64_t number;
	int64_t hw_at_start, log_start_then;
	uint64_t started_us;
	uint64_t incarnation;
	uint64_t release_us; /* a finished fetch is held until then; 0: not finished */
	const uint8_t *data;
};

struct sim_stats {
	uint64_t events, lives, crashes, kills, clean_stops, crashes_in_recovery;
	uint64_t acked, failed, unknown, fetched, listed, cold_reads, stalls;
	uint64_t virtual_us, trimmed, deleted;
	struct sim_disk_counts disk;
};

struct sim {
	uint64_t seed;
	enum sim_mutation mutation;
	bool verbose;
	struct prng rng;
	struct sim_mix mix;
	uint64_t now_us;
	uint64_t hash;
	struct sim_stats stats;
	struct check check;
	bool broken; /* something is wrong that is no rule of the checker */
	char what[300];

	/* the machine */
	struct sim_disk *disk;
	struct sim_shim shim;
	uint8_t *memory, *staging;
	char dirs[SIM_DIRS][256];

	/* the broker's process */
	bool up;
	struct sim_api api;
	struct lblock_pool pool;
	struct part_env env;
	struct producer_pool producers_known;
	struct st_req *reqs;
	struct batch_scratch scratch;
	struct part parts[SIM_PARTS];
	struct st_req opens[SIM_PARTS]; /* and deletions */
	enum part_life lives_of[SIM_PARTS];
	uint64_t incarnations[SIM_PARTS];
	bool exists[SIM_PARTS]; /* this incarnation has been opened */
	struct part_out out;
	struct list to_engine, from_engine;
	uint64_t to_engine_us, from_engine_us; /* when the rings move again; 0: at once */
	uint64_t disk_failures_before;
	struct st_req
		copies[SIM_COPIES]; /* ack-before-flush: requests that only the engine knows */

	/* the clients */
	struct client clients[SIM_CLIENTS];
	uint32_t client_count;
	bool ordered[SIM_CLIENTS];
	struct call calls[SIM_CALLS];
	uint64_t calls_left;
	uint8_t *build, *plain;
};

/* sim.c */
uint32_t sim_below(struct sim *s, uint32_t n);
bool sim_one_in(struct sim *s, uint32_t n);
int64_t sim_now_ms(const struct sim *s);
/* Mixes an event into the hash; shows it when verbose. */
void sim_event(struct sim *s, const char *what, uint64_t a, uint64_t b, uint64_t c);
__attribute__((format(printf, 2, 3))) void sim_broken(struct sim *s, const char *fmt, ...);
/* True when there is no point in going on. */
bool sim_is_over(const struct sim *s);
void sim_init(struct sim *s, uint64_t seed, enum sim_mutation m, bool verbose);
/* All lives of the broker. */
void sim_run(struct sim *s);
void sim_fini(struct sim *s);

/* sim_node.c */
/* Starts the broker, and reads all its logs. False when the machine stopped meanwhile, or all is
 * over. */
bool node_start(struct sim *s);
/* Moves what is between clients, partitions and engine. */
void node_pump(struct sim *s);
/* When something will happen by itself; UINT64_MAX: nothing. */
uint64_t node_next_us(const struct sim *s);
/* Goes on until no operation is under way. */
void node_drain(struct sim *s);
void node_end(struct sim *s, enum sim_end how);

/* sim_topics.c: partitions come and go. */
/* Opens (or creates) all of them. False: the machine stopped, or it is over. */
bool topics_start(struct sim *s);
/* Goes on with deletions. */
void topics_step(struct sim *s);
/* Takes the answer to a request of its own. False: it is a partition's. */
bool topics_answer(struct sim *s, struct st_req *r);
void topics_delete(struct sim *s, uint32_t part);
bool topics_are_idle(const struct sim *s);

/* sim_node.c */
/* Failed flushes and writes so far. */
uint64_t node_disk_failures(const struct sim *s);
/* Moves time to the next thing that happens. */
void node_tick(struct sim *s);

/* sim_client.c */
void clients_init(struct sim *s);
/* The broker is up (again). */
void clients_start(struct sim *s);
uint64_t clients_next_us(const struct sim *s);
void clients_act(struct sim *s);
void clients_done(struct sim *s, struct part_op *op);
/* Gives back what fetches hold. */
void clients_release(struct sim *s, bool all);
/* The broker is gone: what was under way is forgotten. */
void clients_cut(struct sim *s);
bool clients_are_idle(const struct sim *s);

/* A batch of `records`, at s->plain, of this producer; its size. */
uint32_t clients_build(
	struct sim *s, int64_t id, int32_t sequence, uint32_t records, uint32_t size);
/* Starts a call on a partition. */
void clients_call(struct sim *s, struct client *c, struct call *k, uint32_t part);

/* sim_once.c: idempotent producers */
void once_init(struct sim *s, struct client *c);
/* Sends something, if it may. False: it has to wait for answers. */
bool once_act(struct sim *s, struct client *c, struct call *k);
void once_done(struct sim *s, struct call *k);
/* The broker is gone. */
void once_cut(struct client *c);

/* sim_selftest.c: how many tests of the checker and the disk fail. */
int sim_selftest(void);

#endif
