/* SPDX-License-Identifier: Apache-2.0 */
#include "kafka/wire.h"

void kwr_records(struct kwr *k, const struct krecords *r)
{
	if (r->flat) {
		wr_bytes(&k->w, r->flat, r->len);
		return;
	}
	CHECK(r->span.len == r->len);
	if (k->n_splices < k->max_splices && !k->w.full) {
		k->splices[k->n_splices++] =
			(struct kwr_splice){.at = (uint32_t)wr_len(&k->w), .span = r->span};
		k->spliced_bytes += r->len;
		return;
	}
	uint8_t *p = wr_claim(&k->w, r->len);
	if (p)
		lspan_copy(r->span, 0, p, r->len);
}

static void piece_add(struct kpiece *out, uint32_t max, uint32_t *n, const uint8_t *p, uint32_t len)
{
	if (len == 0)
		return;
	if (*n < max)
		out[*n] = (struct kpiece){.p = p, .len = len};
	(*n)++;
}

uint32_t kwr_gather(const struct kwr *k, struct kpiece *out, uint32_t max)
{
	uint32_t n = 0;
	uint32_t at = 0;
	for (uint32_t i = 0; i < k->n_splices; i++) {
		const struct kwr_splice *s = &k->splices[i];
		piece_add(out, max, &n, k->w.base + at, s->at - at);
		at = s->at;
		uint32_t left = s->span.len;
		uint32_t off = s->span.off;
		for (const struct lblock *b = s->span.first; left > 0; b = b->next) {
			if (off >= LBLOCK_SIZE) {
				off -= LBLOCK_SIZE;
				continue;
			}
			uint32_t run = min_of(left, LBLOCK_SIZE - off);
			piece_add(out, max, &n, b->data + off, run);
			left -= run;
			off = 0;
		}
	}
	piece_add(out, max, &n, k->w.base + at, (uint32_t)wr_len(&k->w) - at);
	return n;
}
