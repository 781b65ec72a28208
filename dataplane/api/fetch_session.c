/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fetch_session.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "kafka/errcode.h"
#include "kafka/image.h"

#define EPOCH_FULL 0
#define EPOCH_FINAL (-1)
#define UNUSED_NS (120 * NS_PER_S)

struct session_topic {
	uint32_t refs; /* partitions */
	struct uuid id;
	int32_t name_len;
	char name[];
};

struct session_part {
	struct list order; /* fetch_session.order */
	struct session_topic *topic;
	struct kp_fetch_request_partition q;
	int64_t high_watermark; /* as the client knows them; -1: it does not */
	int64_t log_start_offset;
	bool forgotten;
};

struct fetch_session {
	struct list idle; /* fetch_sessions.idle */
	struct fetch_slot *slot;
	int32_t id;
	int32_t epoch; /* of the next request */
	bool by_id;    /* names its topics by id */
	bool busy;     /* a request of it is at work: it is not ended for another */
	uint64_t used_ns;
	struct list order; /* session_part.order: the next to be read first */
	/* all of them: the first `sorted` in order of topic and index, new ones behind */
	struct session_part **parts;
	uint32_t sorted, count, capacity;
};

/* What names a partition in a request. */
struct key {
	struct kstr name;
	struct uuid id;
	int32_t index;
};

void fetch_sessions_init(struct fetch_sessions *all, uint32_t slots)
{
	*all = (struct fetch_sessions){.slots = slots};
	list_init(&all->idle);
}

static void free_part(struct fetch_sessions *all, struct session_part *p)
{
	list_remove(&p->order);
	if (--p->topic->refs == 0)
		free(p->topic);
	free(p);
	all->parts--;
}

void fetch_slot_close(struct fetch_slot *slot)
{
	struct fetch_session *s = slot->session;
	if (!s)
		return;
	for (uint32_t i = 0; i < s->count; i++)
		free_part(slot->all, s->parts[i]);
	list_remove(&s->idle);
	slot->session = NULL;
	slot->all->count--;
	free(s->parts);
	free(s);
}

void fetch_sessions_fini(struct fetch_sessions *all)
{
	struct list *n;
	while ((n = list_front(&all->idle)))
		fetch_slot_close(list_entry(n, struct fetch_session, idle)->slot);
	CHECK(all->count == 0 && all->parts == 0);
}

/* --- partitions ------------------------------------------------------------------------------- */

static int compare_topic(bool by_id, const struct key *k, const struct session_topic *t)
{
	if (by_id)
		return memcmp(&k->id, &t->id, sizeof(k->id));
	if (k->name.len != t->name_len)
		return k->name.len < t->name_len ? -1 : 1;
	return k->name.len > 0 ? memcmp(k->name.p, t->name, (size_t)k->name.len) : 0;
}

static struct key key_of(const struct session_part *p)
{
	return (struct key){.name = {p->topic->name, p->topic->name_len},
		.id = p->topic->id,
		.index = p->q.index};
}

static int compare(bool by_id, const struct key *k, const struct session_part *p)
{
	int c = compare_topic(by_id, k, p->topic);
	if (c != 0)
		return c;
	return k->index < p->q.index ? -1 : k->index > p->q.index;
}

static int compare_by_name(const void *a, const void *b)
{
	struct key k = key_of(*(struct session_part *const *)a);
	return compare(false, &k, *(struct session_part *const *)b);
}

static int compare_by_id(const void *a, const void *b)
{
	struct key k = key_of(*(struct session_part *const *)a);
	return compare(true, &k, *(struct session_part *const *)b);
}

/* The first partition that is not below the key, among the sorted ones. */
static uint32_t lower_bound(const struct fetch_session *s, const struct key *k)
{
	uint32_t lo = 0, hi = s->sorted;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		if (compare(s->by_id, k, s->parts[mid]) > 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct session_part *find(const struct fetch_session *s, const struct key *k)
{
	uint32_t at = lower_bound(s, k);
	return at < s->sorted && compare(s->by_id, k, s->parts[at]) == 0 ? s->parts[at] : NULL;
}

/* After partitions have been added or forgotten. Of those named twice the first stays. */
static void sort(struct fetch_sessions *all, struct fetch_session *s)
{
	uint32_t kept = 0;
	if (s->count > 1)
		qsort(s->parts, s->count, sizeof(*s->parts),
			s->by_id ? compare_by_id : compare_by_name);
	for (uint32_t i = 0; i < s->count; i++) {
		struct session_part *p = s->parts[i];
		struct key k = key_of(p);
		if (p->forgotten || (kept > 0 && compare(s->by_id, &k, s->parts[kept - 1]) == 0))
			free_part(all, p);
		else
			s->parts[kept++] = p;
	}
	s->count = s->sorted = kept;
}

/* The topic of a partition that is like the one that was added last, or a new one. */
static struct session_topic *topic_for(const struct fetch_session *s, const struct key *k)
{
	if (s->count > 0) {
		struct session_topic *last = s->parts[s->count - 1]->topic;
		if (compare_topic(s->by_id, k, last) == 0)
			return last;
	}
	size_t len = (size_t)max_of(k->name.len, 0);
	struct session_topic *t = malloc(sizeof(*t) + len);
	if (!t)
		return NULL;
	*t = (struct session_topic){.id = k->id, .name_len = (int32_t)len};
	if (len > 0)
		memcpy(t->name, k->name.p, len);
	return t;
}

static bool grow(struct fetch_session *s)
{
	if (s->count < s->capacity)
		return true;
	uint32_t capacity = max_of(s->capacity * 2, 16u);
	struct session_part **parts = realloc(s->parts, capacity * sizeof(struct session_part *));
	if (!parts)
		return false;
	s->parts = parts;
	s->capacity = capacity;
	return true;
}

/* NULL: no room. */
static struct session_part *add(
	struct fetch_sessions *all, struct fetch_session *s, const struct key *k)
{
	if (all->parts == FETCH_SESSION_PARTS || k->name.len > IMAGE_TOPIC_NAME_MAX || !grow(s))
		return NULL;
	struct session_part *p = calloc(1, sizeof(*p));
	struct session_topic *t = p ? topic_for(s, k) : NULL;
	if (!t) {
		free(p);
		return NULL;
	}
	t->refs++;
	p->topic = t;
	p->q.index = k->index;
	p->high_watermark = p->log_start_offset = -1;
	list_push_back(&s->order, &p->order);
	s->parts[s->count++] = p;
	all->parts++;
	return p;
}

/* --- a request comes in ----------------------------------------------------------------------- */

/* False: no room for what it adds. */
static bool update(
	struct fetch_sessions *all, struct fetch_session *s, const struct kp_fetch_request *q)
{
	uint32_t before = s->count;
	for (int32_t i = 0; i < q->n_topics; i++) {
		const struct kp_fetch_request_topic *t = &q->topics[i];
		for (int32_t j = 0; j < t->n_partitions; j++) {
			struct key k = {t->name, t->topic_id, t->partitions[j].index};
			struct session_part *p = find(s, &k);
			if (!p)
				p = add(all, s, &k);
			if (!p)
				return false;
			p->q = t->partitions[j];
		}
	}
	if (s->count > before)
		sort(all, s);
	return true;
}

static void forget(
	struct fetch_sessions *all, struct fetch_session *s, const struct kp_fetch_request *q)
{
	bool any = false;
	for (int32_t i = 0; i < q->n_forgotten_topics; i++) {
		const struct kp_fetch_request_forgotten_topic *t = &q->forgotten_topics[i];
		for (int32_t j = 0; j < t->n_partitions; j++) {
			struct key k = {t->name, t->topic_id, t->partitions[j]};
			struct session_part *p = find(s, &k);
			if (p)
				any = p->forgotten = true;
		}
	}
	if (any)
		sort(all, s);
}

static bool same_topic(
	const struct fetch_session *s, const struct session_part *a, const struct session_part *b)
{
	struct key k = key_of(a);
	return compare_topic(s->by_id, &k, b->topic) == 0;
}

/* The session's partitions as a request's; those of one topic that follow each other together. */
static bool write_out(
	const struct fetch_session *s, struct kp_fetch_request *q, struct arena *arena)
{
	struct kp_fetch_request_partition *parts = arena_array(arena, s->count, sizeof(*parts));
	struct kp_fetch_request_topic *topics;
	const struct session_part *before = NULL;
	int32_t runs = 0;
	list_for_each (it, &s->order) {
		const struct session_part *p = list_entry(it, struct session_part, order);
		runs += !before || !same_topic(s, before, p);
		before = p;
	}
	topics = arena_array(arena, (size_t)runs, sizeof(*topics));
	if (!parts || !topics)
		return false;
	int32_t n = 0;
	before = NULL;
	list_for_each (it, &s->order) {
		const struct session_part *p = list_entry(it, struct session_part, order);
		if (!before || !same_topic(s, before, p))
			topics[n++] = (struct kp_fetch_request_topic){
				.name = {p->topic->name, p->topic->name_len},
				.topic_id = p->topic->id,
				.partitions = parts,
			};
		*parts++ = p->q;
		topics[n - 1].n_partitions++;
		before = p;
	}
	q->topics = topics;
	q->n_topics = runs;
	return true;
}

static int16_t go_on_error(
	const struct fetch_session *s, const struct kp_fetch_request *q, bool by_id)
{
	if (!s || q->session_id != s->id)
		return KE_FETCH_SESSION_ID_NOT_FOUND;
	if (q->session_epoch != s->epoch)
		return KE_INVALID_FETCH_SESSION_EPOCH;
	return by_id == s->by_id ? KE_NONE : KE_FETCH_SESSION_TOPIC_ID_ERROR;
}

static bool is_full(const struct kp_fetch_request *q)
{
	return q->session_epoch == EPOCH_FULL || q->session_epoch == EPOCH_FINAL;
}

bool fetch_session_begin(struct fetch_slot *slot, struct kp_fetch_request *q, bool by_id,
	struct arena *arena, int16_t *error)
{
	struct fetch_session *s = slot->session;
	*error = KE_NONE;
	if (is_full(q)) {
		if (s && (q->session_epoch == EPOCH_FULL || q->session_id == s->id))
			fetch_slot_close(slot);
		return true;
	}
	*error = go_on_error(s, q, by_id);
	if (*error != KE_NONE)
		return true;
	if (!update(slot->all, s, q)) {
		fetch_slot_close(slot); /* the client begins anew, without one */
		*error = KE_FETCH_SESSION_ID_NOT_FOUND;
		return true;
	}
	forget(slot->all, s, q);
	if (s->count > 0) {
		s->busy = true;
		return write_out(s, q, arena);
	}
	fetch_slot_close(slot);
	q->topics = NULL;
	q->n_topics = 0;
	return true;
}

/* --- its response ----------------------------------------------------------------------------- */

/* Whether the client is to be told; what it knows then. */
static bool learn(struct session_part *p, const struct kp_fetch_response_partition *out)
{
	bool failed = out->error_code != KE_NONE;
	if (!failed && out->high_watermark < 0)
		return false; /* not read: the response was full before its turn */
	bool news = failed || out->records.len > 0 || out->preferred_read_replica >= 0 ||
		    out->diverging_epoch.epoch >= 0 || out->high_watermark != p->high_watermark ||
		    out->log_start_offset != p->log_start_offset;
	p->high_watermark = failed ? -1 : out->high_watermark;
	p->log_start_offset = out->log_start_offset;
	return news;
}

/* Makes room for one more, if it can. */
static bool make_room(struct fetch_sessions *all, uint64_t now_ns)
{
	if (all->count < all->slots)
		return true;
	list_for_each (it, &all->idle) {
		struct fetch_session *s = list_entry(it, struct fetch_session, idle);
		if (s->busy)
			continue;
		if (now_ns - s->used_ns < UNUSED_NS)
			return false;
		fetch_slot_close(s->slot);
		return true;
	}
	return false;
}

/* False: there is no room for all of it. */
static bool fill(struct fetch_sessions *all, struct fetch_session *s,
	const struct kp_fetch_request *q, const struct kp_fetch_response *resp)
{
	for (int32_t i = 0; i < resp->n_topics; i++) {
		const struct kp_fetch_response_topic *t = &resp->topics[i];
		for (int32_t j = 0; j < t->n_partitions; j++) {
			struct key k = {t->name, t->topic_id, t->partitions[j].index};
			struct session_part *p = add(all, s, &k);
			if (!p)
				return false;
			p->q = q->topics[i].partitions[j];
			learn(p, &t->partitions[j]);
		}
	}
	sort(all, s);
	return true;
}

static void create(struct fetch_slot *slot, const struct kp_fetch_request *q, bool by_id,
	uint64_t now_ns, const struct kp_fetch_response *resp)
{
	struct fetch_sessions *all = slot->all;
	struct fetch_session *s = make_room(all, now_ns) ? calloc(1, sizeof(*s)) : NULL;
	if (!s)
		return;
	all->last_id = all->last_id == INT32_MAX ? 1 : all->last_id + 1;
	*s = (struct fetch_session){
		.slot = slot, .id = all->last_id, .epoch = 1, .by_id = by_id, .used_ns = now_ns};
	list_init(&s->order);
	list_init(&s->idle);
	list_push_back(&all->idle, &s->idle);
	slot->session = s;
	all->count++;
	if (!fill(all, s, q, resp))
		fetch_slot_close(slot);
}

/* Leaves what the client does not know yet. Records come from others first the next time. */
static void shorten(struct fetch_session *s, struct kp_fetch_response *resp)
{
	struct list *next = s->order.next;
	int32_t topics = 0;
	for (int32_t i = 0; i < resp->n_topics; i++) {
		struct kp_fetch_response_topic t = resp->topics[i];
		int32_t n = t.n_partitions;
		t.n_partitions = 0;
		for (int32_t j = 0; j < n; j++) {
			struct list *it = next;
			struct session_part *p = list_entry(it, struct session_part, order);
			struct kp_fetch_response_partition *out = &t.partitions[j];
			CHECK(it != &s->order && p->q.index == out->index);
			next = it->next;
			if (!learn(p, out))
				continue;
			if (out->records.len > 0) {
				list_remove(it);
				list_push_back(&s->order, it);
			}
			t.partitions[t.n_partitions++] = *out;
		}
		if (t.n_partitions > 0)
			resp->topics[topics++] = t;
	}
	resp->n_topics = topics;
}

void fetch_session_end(struct fetch_slot *slot, const struct kp_fetch_request *q, bool by_id,
	uint64_t now_ns, struct kp_fetch_response *resp)
{
	if (q->session_epoch == EPOCH_FINAL)
		return;
	if (q->session_epoch == EPOCH_FULL) {
		create(slot, q, by_id, now_ns, resp);
		resp->session_id = slot->session ? slot->session->id : 0;
		return;
	}
	struct fetch_session *s = slot->session;
	if (!s)
		return;
	shorten(s, resp);
	s->epoch = s->epoch == INT32_MAX ? 1 : s->epoch + 1;
	s->used_ns = now_ns;
	s->busy = false;
	list_remove(&s->idle);
	list_push_back(&slot->all->idle, &s->idle);
	resp->session_id = s->id;
}
