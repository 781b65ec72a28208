/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_META_META_H
#define MR_META_META_H

#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "control/meta/dynamic.h"
#include "control/meta/quota.h"
#include "control/meta/topic.h"

/*
 * Where the cluster's state is kept (DESIGN D8): a document with a version, changed by compare and
 * set. The embedded backend is a file in the first log directory (meta_file.c); a cluster has etcd
 * behind the same functions. Control thread.
 */

#define META_CLUSTER_ID_LEN 22

/* The document. */
struct meta_state {
	char cluster_id[META_CLUSTER_ID_LEN + 1];
	struct topics topics;
	int64_t next_producer_id; /* below it all are given away, or may be */
	struct quotas quotas;
	struct dynamic dynamic;
};

enum meta_result {
	META_OK,
	META_CONFLICT, /* the stored version is not the expected one; nothing was written */
	META_FAILED,   /* not stored, or not known to be stored; a sentence is in err */
};

struct meta;

/* The file backend: <dir>/millrace.meta.json. NULL and a sentence in err when the directory is not
 * usable. */
struct meta *meta_file_open(const char *dir, char *err, size_t err_size);
/*
 * Reads the document into *state (initialised here; meta_state_fini is the caller's) and its
 * version. Version 0 and empty: nothing was ever stored. -1 with a sentence in err: the document is
 * there and cannot be used (damaged, or of a newer millrace); never taken for empty.
 */
int meta_load(
	struct meta *m, struct meta_state *state, uint64_t *version, char *err, size_t err_size);
/* Frees what the state holds. */
void meta_state_fini(struct meta_state *state);
/* Stores state as version expected + 1 if the stored version is `expected`. Durable on META_OK. */
enum meta_result meta_update(struct meta *m, uint64_t expected, const struct meta_state *state,
	char *err, size_t err_size);
void meta_close(struct meta *m);

/* The document as text (malloc, the caller's; NULL: no memory), and back. For meta_file and tests.
 */
char *meta_encode(const struct meta_state *state, uint64_t version, size_t *len);
int meta_decode(const char *text, size_t len, struct meta_state *state, uint64_t *version,
	char *err, size_t err_size);

/* A cluster id from 16 random bytes: base64url without padding. */
void meta_cluster_id(const uint8_t random[16], char out[META_CLUSTER_ID_LEN + 1]);

/* What an image is made of beside the topics; borrowed. */
struct meta_image_args {
	uint64_t epoch;
	const char *cluster_id;
	const struct config *cfg;
	const char *host; /* advertised */
	int32_t port;
	uint16_t shards;
	uint16_t workers;
	const struct quotas *quotas; /* NULL: none */
};
/*
 * The metadata image of the table: part id p is served by shard p % shards, its log kept by the
 * worker that st_worker_of says, so that a partition stays where it is in every later image. NULL:
 * no memory. Gives.
 */
struct image *meta_image_build(const struct topics *topics, const struct meta_image_args *args);

#endif
