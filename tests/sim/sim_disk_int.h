/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TESTS_SIM_DISK_INT_H
#define MR_TESTS_SIM_DISK_INT_H

/* Private to sim_disk.c and sim_disk_node.c. */

#include <stddef.h>

#include "sim_disk.h"

/*
 * The bytes of a file: pages that several files, layers and disks share until one of them changes.
 * No page: zeros.
 */
#define SD_PAGE 4096u

struct sd_page {
	struct sd_page *next; /* while it is free */
	uint32_t refs;
	uint64_t hash; /* 0: not known */
	uint8_t data[SD_PAGE];
};

/* Where pages come from, for a disk and all that are made from it. */
struct sd_pool {
	struct sd_page *free;
	uint32_t disks;
};

struct bytes {
	struct sd_page **pages;
	uint64_t size;
	uint32_t capacity; /* pages */
};

/* A change of a file that is not flushed. */
struct change {
	uint64_t seq;
	bool resize; /* to `off` bytes; else a write */
	uint64_t off, len;
	uint8_t *data;
};

enum name_op { NAME_ADD, NAME_REMOVE, NAME_RENAME };

struct node;

struct entry {
	char name[80];
	struct node *node;
};

/* A change of a directory that is not flushed. */
struct name_change {
	enum name_op op;
	struct entry entry;
	char to[80];
};

struct entries {
	struct entry *e;
	uint32_t count, capacity;
};

struct node {
	struct node *next; /* all nodes of the disk */
	uint64_t id;
	bool is_dir, marked;
	bool flush_failed;
	struct node *top;    /* the directory in the root that it is under, or itself */
	uint32_t first_unit; /* sim_disk_units */
	uint32_t opened;
	/* file */
	struct bytes cur, dur;
	struct change *changes;
	uint32_t change_count, change_capacity;
	/* directory */
	struct entries now, durable;
	struct name_change *names;
	uint32_t name_count, name_capacity;
	uint64_t names_flushed; /* changes of names that have left `names` */
};

struct io_file {
	struct node *node;
	unsigned flags;
};

struct flight {
	struct io_op *op;
	uint8_t *buf; /* the operation's; a copy of its own when the operation has a vector */
	struct node *node;
	uint64_t due_us;
	uint64_t seq;
	uint64_t mark; /* flush: changes up to here; of a directory: so many changes of names */
};

struct sim_disk {
	struct io io; /* first */
	struct sd_pool *pool;
	struct prng rng;
	struct sim_disk_faults faults;
	struct node *nodes, *root;
	uint64_t next_id, next_seq;
	uint64_t now_us;
	struct flight *flights;
	uint32_t flight_count, flight_capacity;
	uint64_t stop_in;
	bool stopped;
	bool power_cut;
	struct sim_disk_counts counts;
	uint64_t hash;
	uint64_t io_count;
	struct sim_disk_fault fault;
	const struct node *fault_top; /* where it struck */
	const char *violation;
	void (*hook)(void *arg);
	void *hook_arg;
};

/* An array of `count` elements with room for one more. */
void *sd_grow(void *p, uint32_t count, uint32_t *capacity, size_t size);

void sd_bytes_read(const struct bytes *b, uint64_t off, void *to, uint64_t len);
/* Inside the size only: what is beyond is lost. */
void sd_bytes_write(struct sim_disk *d, struct bytes *b, uint64_t off, const void *p, uint64_t len);
void sd_bytes_resize(struct sim_disk *d, struct bytes *b, uint64_t size);
/* `to` becomes what `from` is. */
void sd_bytes_share(struct sim_disk *d, struct bytes *to, const struct bytes *from);
uint64_t sd_bytes_hash(const struct bytes *b);

/* A disk that shares its pages with `like`; NULL: with no other. */
struct sim_disk *sd_disk_new(uint64_t seed, struct sim_disk *like);
struct node *sd_node_new(struct sim_disk *d, bool is_dir);
void sd_node_free(struct sim_disk *d, struct node *n);
/* Frees what no name leads to. All files are closed. */
void sd_sweep(struct sim_disk *d);

/* Finds the directory that `path` stands in, and its last name; NULL when there is no such
 * directory. */
struct node *sd_walk(struct sim_disk *d, const char *path, char name[80]);
/* What the path leads to, or NULL. */
struct node *sd_lookup(struct sim_disk *d, const char *path);
/* Index of the entry, or -1. */
int sd_find(const struct entries *s, const char *name);
void sd_entries_apply(struct entries *s, const struct name_change *c);
void sd_entries_put(struct entries *s, const char *name, struct node *node);
/* Changes a name (volatile); makes all changes durable; settles which of them survive a crash. */
void sd_dir_change(
	struct node *dir, enum name_op op, const char *name, const char *to, struct node *node);
void sd_dir_flush(struct node *n, uint64_t mark);
void sd_dir_settle(struct sim_disk *d, struct node *n);

/* Changes a file (volatile). */
void sd_file_resize(struct sim_disk *d, struct node *n, uint64_t size);
void sd_file_write(struct sim_disk *d, struct node *n, const void *p, uint64_t len, uint64_t off);
/* A write that nobody has seen complete. */
void sd_file_note_write(
	struct sim_disk *d, struct node *n, const void *p, uint64_t len, uint64_t off);
/* Makes all changes up to mark durable. */
void sd_file_flush(struct sim_disk *d, struct node *n, uint64_t mark);
/* Of the changes up to mark makes those durable that are writes into room that was written durably.
 */
void sd_file_reach(struct sim_disk *d, struct node *n, uint64_t mark);
/* Some of the changes survive, the rest is lost (3.). */
void sd_file_settle(struct sim_disk *d, struct node *n);

#endif
