/* SPDX-License-Identifier: Apache-2.0 */
#include "shard/msg.h"

#include <errno.h>

int mesh_init(struct mesh *m, uint16_t nodes, uint32_t ring_size)
{
	CHECK(nodes >= 2 && nodes <= MESH_MAX_NODES);
	*m = (struct mesh){.nodes = nodes};
	for (uint16_t i = 0; i < nodes; i++) {
		for (uint16_t j = 0; j < nodes; j++) {
			if (i == j)
				continue;
			m->ring[i][j] = ring_create(ring_size);
			if (!m->ring[i][j]) {
				mesh_fini(m);
				return -ENOMEM;
			}
		}
	}
	return 0;
}

void mesh_fini(struct mesh *m)
{
	for (uint16_t i = 0; i < m->nodes; i++) {
		for (uint16_t j = 0; j < m->nodes; j++) {
			ring_destroy(m->ring[i][j]);
			m->ring[i][j] = NULL;
		}
	}
}

void mesh_port_init(struct mesh_port *p, struct mesh *m, uint16_t self)
{
	*p = (struct mesh_port){.mesh = m, .self = self};
	for (uint16_t i = 0; i < m->nodes; i++)
		list_init(&p->backlog[i]);
}

static void mesh_mark(struct mesh_port *p, uint16_t to)
{
	if (to < 64)
		p->dirty |= 1ull << to;
	else
		p->dirty_last = true;
}

static void mesh_send(struct mesh_port *p, uint16_t to, struct msg *m)
{
	CHECK(to < p->mesh->nodes && to != p->self);
	mesh_mark(p, to);
	if (list_empty(&p->backlog[to]) && ring_push(p->mesh->ring[p->self][to], m))
		return;
	list_push_back(&p->backlog[to], &m->node);
	p->backlog_count++;
}

void mesh_ask(struct mesh_port *p, uint16_t to, struct msg *m)
{
	m->from = p->self;
	m->answer = false;
	list_init(&m->node);
	mesh_send(p, to, m);
}

void mesh_answer(struct mesh_port *p, struct msg *m)
{
	CHECK(!m->answer);
	m->answer = true;
	list_init(&m->node);
	mesh_send(p, m->from, m);
}

static void mesh_drain_backlog(struct mesh_port *p, uint16_t to)
{
	struct list *n;
	while ((n = list_front(&p->backlog[to]))) {
		/* Unlinked before the push: afterwards it is the receiver's. */
		list_remove(n);
		if (!ring_push(p->mesh->ring[p->self][to], list_entry(n, struct msg, node))) {
			list_push_front(&p->backlog[to], n);
			return;
		}
		p->backlog_count--;
		mesh_mark(p, to);
	}
}

void mesh_flush(struct mesh_port *p)
{
	if (p->backlog_count > 0)
		for (uint16_t i = 0; i < p->mesh->nodes; i++)
			mesh_drain_backlog(p, i);
	while (p->dirty) {
		unsigned i = (unsigned)__builtin_ctzll(p->dirty);
		p->dirty &= p->dirty - 1;
		if (p->mesh->waker[i])
			waker_notify(p->mesh->waker[i]);
	}
	if (p->dirty_last && p->mesh->waker[64])
		waker_notify(p->mesh->waker[64]);
	p->dirty_last = false;
}

uint32_t mesh_recv(struct mesh_port *p, struct msg **out, uint32_t max)
{
	uint32_t got = 0;
	for (uint16_t i = 0; i < p->mesh->nodes && got < max; i++)
		if (i != p->self)
			got += ring_pop(p->mesh->ring[i][p->self], (void **)out + got, max - got);
	return got;
}

bool mesh_is_quiet(const struct mesh_port *p)
{
	for (uint16_t i = 0; i < p->mesh->nodes; i++)
		if (i != p->self && !ring_is_empty(p->mesh->ring[i][p->self]))
			return false;
	return p->backlog_count == 0;
}
