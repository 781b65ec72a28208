/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_BASE_LIST_H
#define MR_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

#include "base/check.h"

/* The one intrusive doubly linked list. An unlinked node points at itself. */
struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *l)
{
	l->next = l->prev = l;
}
static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}
/* True when the node is on some list. */
static inline bool list_linked(const struct list *n)
{
	return n->next != n;
}
static inline void list_insert_before(struct list *pos, struct list *n)
{
	n->prev = pos->prev;
	n->next = pos;
	pos->prev->next = n;
	pos->prev = n;
}
static inline void list_push_back(struct list *l, struct list *n)
{
	list_insert_before(l, n);
}
static inline void list_push_front(struct list *l, struct list *n)
{
	list_insert_before(l->next, n);
}
/* Unlinks n (harmless when it is not linked). */
static inline void list_remove(struct list *n)
{
	n->prev->next = n->next;
	n->next->prev = n->prev;
	n->next = n->prev = n;
}
static inline struct list *list_front(struct list *l)
{
	return list_empty(l) ? NULL : l->next;
}
static inline struct list *list_pop_front(struct list *l)
{
	struct list *n = list_front(l);
	if (n)
		list_remove(n);
	return n;
}
/* Moves all of `from` to the end of `to`; `from` is empty afterwards. */
static inline void list_splice(struct list *to, struct list *from)
{
	if (list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	list_init(from);
}

#define list_entry(node, type, member) container_of(node, type, member)
#define list_for_each(it, head) for (struct list *it = (head)->next; it != (head); it = it->next)
/* The body may unlink `it`. */
#define list_for_each_safe(it, head)                                                               \
	for (struct list *it = (head)->next, *it##_next = it->next; it != (head);                  \
		it = it##_next, it##_next = it->next)

#endif
