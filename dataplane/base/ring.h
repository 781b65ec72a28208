/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_RING_H
#define MR_BASE_RING_H

#include <stdbool.h>
#include <stdint.h>

/*
 * The only way between threads: a bounded single-producer single-consumer ring of pointers
 * (rte_ring on own memory, so it works without EAL). What is pushed changes owner whole: the
 * producer does not touch it again until it comes back by another ring.
 */
struct ring;

/* A ring for at least `count` pointers. NULL when memory is short. The caller owns it. */
struct ring *ring_create(uint32_t count);
/* Frees the ring; whatever is still in it is the caller's to have drained. */
void ring_destroy(struct ring *r);
/* Producer thread only. False when full: the message stays the caller's. */
bool ring_push(struct ring *r, void *msg);
/* Consumer thread only. Fills out with up to max messages, oldest first; returns how many. */
uint32_t ring_pop(struct ring *r, void **out, uint32_t max);
/* Either side; a hint. */
bool ring_is_empty(const struct ring *r);
/* Either side; a hint. */
uint32_t ring_count(const struct ring *r);

/*
 * Puts a thread to sleep until another pushes. The sleeper calls waker_arm, then looks at all its
 * rings once more, then blocks on waker_fd (or calls waker_disarm and goes on). The pusher calls
 * waker_notify after its pushes: it costs a system call only when the sleeper is armed.
 */
struct waker {
	int fd;	    /* eventfd, non-blocking */
	int asleep; /* accessed atomically */
};

/* 0 or -errno. */
int waker_init(struct waker *w);
void waker_fini(struct waker *w);
void waker_arm(struct waker *w);
/* Ends the sleep and drains the eventfd. */
void waker_disarm(struct waker *w);
/* Any thread. */
void waker_notify(struct waker *w);

#endif
