/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_CHECK_H
#define MR_BASE_CHECK_H

/*
 * CHECK states what only a bug of ours can break; it stays on in production. A peer's or an
 * operator's fault is never a CHECK: it is a value that is counted and answered.
 */

/* Prints where and what, then aborts. Does not return. */
__attribute__((noreturn, cold)) void check_failed(const char *file, int line, const char *what);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (__builtin_expect(!(cond), 0))                                                  \
			check_failed(__FILE__, __LINE__, #cond);                                   \
	} while (0)

#ifdef MR_DEBUG
#define DCHECK(cond) CHECK(cond)
#else
#define DCHECK(cond) ((void)sizeof(cond))
#endif

#ifndef container_of /* DPDK has the same one */
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#endif
#define array_size(a) (sizeof(a) / sizeof((a)[0]))
#define min_of(a, b) ((a) < (b) ? (a) : (b))
#define max_of(a, b) ((a) > (b) ? (a) : (b))
/* align must be a power of two. */
#define align_up(x, align) (((x) + ((align)-1)) & ~((__typeof__(x))(align)-1))
#define align_down(x, align) ((x) & ~((__typeof__(x))(align)-1))

#endif
