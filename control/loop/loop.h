/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_LOOP_LOOP_H
#define MR_LOOP_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "control/admin/admin.h"
#include "control/api/control_api.h"
#include "control/config/config.h"
#include "shard/msg.h"

/*
 * The control thread: one epoll loop over the mesh, signals, the admin HTTP server and timers. It
 * owns topics, groups and the metadata image. Everything here is called by that one thread.
 *
 *   ctl_create ─► (shard and worker threads start) ─► ctl_start ─► ctl_run ─► ctl_destroy
 *
 *   STARTING ──image served by all──► SERVING ──signal or ctl_shutdown──► DRAINING (modules flush)
 *      └──signal───────────────────────────────────────────────────────────► │
 *                                          STOPPED ◄──all MSG_STOP answered── STOPPING ◄─┘
 */

enum ctl_state {
	CTL_STARTING, /* the first image is on its way to the shards */
	CTL_SERVING,
	CTL_DRAINING, /* modules flush; new requests are hung up */
	CTL_STOPPING, /* MSG_DISCONNECT is out, then MSG_STOP */
	CTL_STOPPED,
};

struct ctl_options {
	const struct config *cfg; /* borrowed until ctl_destroy */
	struct mesh *mesh;	  /* borrowed; waker of the control node is set by ctl_create */
	int signal_fd;		  /* signalfd with SIGINT and SIGTERM; borrowed; -1: none */
	uint16_t workers;	  /* storage workers */
	uint32_t logs_found;	  /* logs that log.dirs hold (st_dirs_log_count) */
	uint16_t listen_port; /* the port that the first listener got, where the config says 0 */
	const char
		*meta_dir; /* where the metadata file is; NULL: the first of log.dirs; borrowed */
};

struct ctl;

/*
 * Opens the admin listener and the control node's end of the mesh; before the other threads start.
 * NULL with a sentence in err (admin port in use, ...).
 */
struct ctl *ctl_create(const struct ctl_options *opt, char *err, size_t err_size);
/* For registering metrics (admin_add_metrics) before ctl_start. Never NULL. */
struct admin *ctl_admin(struct ctl *c);
/*
 * Loads the metadata, sends the first image, and runs the loop until every shard serves by it. 0:
 * ready (say so to the operator). 1: a stop was asked for meanwhile: go on to ctl_run, which ends
 * it in order. -1 with a sentence in err; then ctl_run still stops the shards in order.
 */
int ctl_start(struct ctl *c, char *err, size_t err_size);
/* The first half of ctl_start: loads and sends, without running the loop. 0 or -1. */
int ctl_begin(struct ctl *c, char *err, size_t err_size);
/* Partitions that could not be opened by the last image that was served. */
uint32_t ctl_failed_partitions(const struct ctl *c);
/* Runs until a stop was asked for and every shard has answered MSG_STOP. True: all of them said
   that nothing was left undone, and the modules flushed. */
bool ctl_run(struct ctl *c);
/* Asks for a stop, as a signal does. */
void ctl_shutdown(struct ctl *c);
enum ctl_state ctl_state_of(const struct ctl *c);
/* One turn of the loop: waits up to timeout_ms (-1: as long as needed). For ctl_start, ctl_run and
 * tests. */
void ctl_turn(struct ctl *c, int timeout_ms);
/* After ctl_run, or before ctl_start. Shards must be gone, or never have been. */
void ctl_destroy(struct ctl *c);

#endif
