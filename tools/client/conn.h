/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_CLIENT_CONN_H
#define MR_TOOLS_CLIENT_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tools/client/address.h"

#define CONN_ERROR 400
#define CONN_KEYS 128 /* api keys from here on are not looked at */
/* No answer that we ask for is larger: what a broker says beyond it is not believed. */
#define CONN_FRAME_MAX (256u << 20)

/* Why something could not be done. */
enum client_err {
	CLIENT_OK = 0,
	CLIENT_E_REACH = -1,	/* no connection, or it was lost, or no answer in time */
	CLIENT_E_PROTOCOL = -2, /* what came is no answer */
	CLIENT_E_VERSION = -3,	/* broker and we have no version of the API in common */
	CLIENT_E_STOPPED = -4,	/* stop_fd became readable */
	CLIENT_E_NOMEM = -5,
};

struct conn_range {
	int16_t min;
	int16_t max; /* less than min: the broker does not serve the API */
};

/* A TCP connection to one broker. One thread. All waiting ends at a deadline of clock_mono_ns(). */
struct conn {
	int fd;	     /* -1: not connected */
	int stop_fd; /* readable: stop waiting; -1: none */
	struct address at;
	bool used; /* an answer has come over it */
	int32_t correlation_id;
	struct conn_range versions[CONN_KEYS];
	char error[CONN_ERROR]; /* of the last failure */
};

/* Connects to c->at. A client_err. Nothing is known yet of the broker's versions. */
int conn_open(struct conn *c, uint64_t deadline_ns);
void conn_close(struct conn *c);
/* Sends all of p. */
int conn_send(struct conn *c, const uint8_t *p, size_t n, uint64_t deadline_ns);
/* Receives one frame; without its size field into *buf (of *size bytes, grown by realloc). */
int conn_receive(struct conn *c, uint8_t **buf, size_t *size, uint32_t *len, uint64_t deadline_ns);
/* Keeps a failure's text; returns err. */
__attribute__((format(printf, 3, 4))) int conn_fail(
	struct conn *c, int err, const char *format, ...);

#endif
