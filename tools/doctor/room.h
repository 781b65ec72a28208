/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_TOOLS_DOCTOR_ROOM_H
#define MR_TOOLS_DOCTOR_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

/*
 * Private to tools/doctor. Each check looks at files of /sys and /proc below a root, so that the
 * tests can show it any machine, and adds findings to a report.
 */
enum verdict {
	DOCTOR_OK,
	DOCTOR_NOTE, /* fine, but could be better, or is good to know */
	DOCTOR_WARN, /* works, and not well */
	DOCTOR_FAIL, /* does not work */
};

struct doctor {
	const char *root; /* "" is the machine itself */
	const char *data; /* where the logs are to be */
	json_t *findings; /* array of objects: check, verdict, what, why, repair */
	unsigned count[DOCTOR_FAIL + 1];
};

#define DOCTOR_TEXT 512

/* Adds a finding. what: as it is; why: what follows from that; repair: a command, NULL: none. */
__attribute__((format(printf, 4, 5))) void doctor_add(
	struct doctor *d, const char *check, enum verdict verdict, const char *what, ...);
/* Of the finding that was added last. */
__attribute__((format(printf, 2, 3))) void doctor_why(struct doctor *d, const char *why, ...);
__attribute__((format(printf, 2, 3))) void doctor_repair(struct doctor *d, const char *repair, ...);

/* ---- sys.c: paths begin with a slash and are below the root ---- */

/* The file's text without the last line's end; "" when there is none. Cut to DOCTOR_TEXT. */
void sys_text(const struct doctor *d, const char *path, char text[DOCTOR_TEXT]);
/* The number in it; dflt when there is none. */
int64_t sys_number(const struct doctor *d, const char *path, int64_t dflt);
bool sys_exists(const struct doctor *d, const char *path);
/* The last part of what a link points to; "" when it is none. */
void sys_link(const struct doctor *d, const char *path, char name[DOCTOR_TEXT]);
/* Calls each(d, name, arg) for what is in a folder, in order of name; returns how many there are.
 */
typedef void doctor_each_t(struct doctor *d, const char *name, void *arg);
unsigned sys_each(struct doctor *d, const char *path, doctor_each_t *each, void *arg);
/* True when what the path leads to, past all links, is or is below a folder of that name. */
bool sys_leads_through(const struct doctor *d, const char *path, const char *folder);
/* The rest of the line that begins with `key`; "" when there is none. */
void sys_line(const struct doctor *d, const char *path, const char *key, char text[DOCTOR_TEXT]);

/* ---- the checks ---- */
void check_memory(struct doctor *d);
void check_cpus(struct doctor *d);
void check_kernel(struct doctor *d);
void check_ports(struct doctor *d);
void check_disk(struct doctor *d);

#endif
