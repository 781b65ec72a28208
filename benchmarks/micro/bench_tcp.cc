/* SPDX-License-Identifier: Apache-2.0 */
/* TCP per segment: data in order with and without software checksum, acknowledgements, small
 * records. */
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <cstring>
#include <vector>

extern "C" {
#include "net/ipstack.h"
}

namespace
{

constexpr uint32_t kUs = 0x0a000002, kPeer = 0x0a000001, kBurst = 32;
constexpr uint32_t kHdr = 54;

void put16(uint8_t *p, uint32_t v)
{
	p[0] = static_cast<uint8_t>(v >> 8);
	p[1] = static_cast<uint8_t>(v);
}
void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v & 0xffff);
}
uint32_t get32(const uint8_t *p)
{
	return static_cast<uint32_t>(p[0]) << 24 | static_cast<uint32_t>(p[1]) << 16 |
	       static_cast<uint32_t>(p[2]) << 8 | p[3];
}

/* The sum of 16-bit words, not inverted. */
uint32_t sum16(uint32_t sum, const uint8_t *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i += 2)
		sum += static_cast<uint32_t>(p[i]) << 8 | (i + 1 < n ? p[i + 1] : 0u);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* A stack with one open connection, and the frames of its peer. */
struct Peer {
	ipstack *s = nullptr;
	ipstack_conn_t conn = 0;
	uint64_t now = 1000000000;
	uint32_t seq = 1000, ack = 0;
	std::vector<std::vector<uint8_t>> frames;
	uint32_t payload_sum = 0; /* of a frame, see fill */

	explicit Peer(uint32_t payload) : frames(kBurst, std::vector<uint8_t>(kHdr + payload))
	{
		ipstack_config cfg;
		ipstack_config_defaults(&cfg);
		std::memcpy(cfg.mac, "\2\0\0\0\0\2", 6);
		cfg.ip = kUs;
		cfg.prefix_len = 24;
		s = ipstack_create(&cfg, now);
		if (!s || ipstack_listen(s, 9092) != 0)
			std::abort();
		for (auto &f : frames)
			payload_sum = fill(f.data(), payload);
		arp();
		handshake();
	}
	~Peer()
	{
		ipstack_destroy(s);
	}
	Peer(const Peer &) = delete;
	Peer &operator=(const Peer &) = delete;

	/* Returns the sum of everything but seq, ack, checksum. */
	static uint32_t fill(uint8_t *f, uint32_t payload)
	{
		std::memset(f, 'x', kHdr + payload);
		std::memcpy(f, "\2\0\0\0\0\2\2\0\0\0\0\1\x08\0", 14);
		std::memset(f + 14, 0, 40);
		f[14] = 0x45;
		put16(f + 16, 40 + payload);
		f[22] = 64;
		f[23] = 6;
		put32(f + 26, kPeer);
		put32(f + 30, kUs);
		put16(f + 24, ~sum16(0, f + 14, 20) & 0xffff);
		put16(f + 34, 50000);
		put16(f + 36, 9092);
		f[46] = 0x50;
		f[47] = 0x10;
		put16(f + 48, 65535);
		uint8_t pseudo[12] = {0};
		std::memcpy(pseudo, f + 26, 8);
		pseudo[9] = 6;
		put16(pseudo + 10, 20 + payload);
		return sum16(sum16(0, pseudo, 12), f + 34, 20 + payload);
	}
	void arp()
	{
		uint8_t f[42] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
			2, 0, 0, 0, 0, 1};
		put32(f + 28, kPeer);
		put32(f + 38, kUs);
		ipstack_input(s, now, f, sizeof(f), false, false, nullptr);
		drain(nullptr);
	}
	uint32_t drain(ip_out_frame *keep)
	{
		static ip_out_frame out[kBurst];
		uint32_t n, all = 0;
		while ((n = ipstack_tx_pop(s, now, out, kBurst)) > 0) {
			if (keep)
				*keep = out[n - 1];
			all += n;
		}
		return all;
	}
	void handshake()
	{
		uint8_t f[kHdr];
		ip_out_frame out;
		fill(f, 0);
		f[47] = 0x02;
		put32(f + 38, seq++);
		ipstack_input(s, now, f, sizeof(f), true, true, nullptr);
		if (drain(&out) != 1)
			std::abort();
		ack = get32(out.hdr + 38) + 1;
		input_empty();
		ipstack_event ev;
		if (!ipstack_event_pop(s, &ev) || ev.kind != IPSTACK_EV_ACCEPTED)
			std::abort();
		conn = ev.conn;
	}
	void input_empty()
	{
		static uint8_t f[kHdr];
		fill(f, 0);
		put32(f + 38, seq);
		put32(f + 42, ack);
		ipstack_input(s, now, f, kHdr, true, true, f);
	}
	/* Puts the numbers, and the checksum if it will be looked at, into frame i. */
	uint8_t *number(uint32_t i, bool checksum)
	{
		uint8_t *f = frames[i].data();
		put32(f + 38, seq);
		put32(f + 42, ack);
		if (checksum) {
			put16(f + 50, ~sum16(payload_sum, f + 38, 8) & 0xffff);
		}
		return f;
	}
};

/* Segments in order, 32 a turn: input, DATA events, release, ACKs out. */
void tcp_in_order(benchmark::State &state)
{
	uint32_t payload = static_cast<uint32_t>(state.range(0));
	bool offload = state.range(1) != 0;
	Peer p(payload);
	uint64_t bytes = 0;
	for (auto _ : state) {
		for (uint32_t i = 0; i < kBurst; i++) {
			uint8_t *f = p.number(i, !offload);
			ipstack_input(p.s, p.now, f, kHdr + payload, offload, offload, f);
			p.seq += payload;
		}
		ipstack_event ev;
		while (ipstack_event_pop(p.s, &ev))
			if (ev.kind == IPSTACK_EV_DATA)
				bytes += ev.data.len;
		ipstack_release(p.s);
		p.drain(nullptr);
		p.now += 10000;
		ipstack_timers(p.s, p.now);
	}
	if (bytes != static_cast<uint64_t>(state.iterations()) * kBurst * payload)
		state.SkipWithError("bytes were lost");
	state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kBurst));
	state.SetBytesProcessed(static_cast<int64_t>(bytes));
}
BENCHMARK(tcp_in_order)
	->ArgNames({"payload", "offload"})
	->Args({1460, 1})
	->Args({1460, 0})
	->Args({100, 1})
	->Args({100, 0});

/* Every other segment comes first: chunks are filled and handed out. */
void tcp_out_of_order(benchmark::State &state)
{
	uint32_t payload = 1460;
	Peer p(payload);
	uint64_t bytes = 0;
	for (auto _ : state) {
		uint32_t start = p.seq;
		for (uint32_t i = 0; i < kBurst; i++) {
			p.seq = start + (i ^ 1) * payload;
			uint8_t *f = p.number(i, false);
			ipstack_input(p.s, p.now, f, kHdr + payload, true, true, f);
		}
		p.seq = start + kBurst * payload;
		ipstack_event ev;
		while (ipstack_event_pop(p.s, &ev))
			if (ev.kind == IPSTACK_EV_DATA)
				bytes += ev.data.len;
		ipstack_release(p.s);
		p.drain(nullptr);
		p.now += 10000;
	}
	if (bytes != static_cast<uint64_t>(state.iterations()) * kBurst * payload)
		state.SkipWithError("bytes were lost");
	state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kBurst));
}
BENCHMARK(tcp_out_of_order);

/* A send of `payload` bytes, its segment, the ACK, the SENT event. */
void tcp_send_and_ack(benchmark::State &state)
{
	uint32_t payload = static_cast<uint32_t>(state.range(0));
	Peer p(0);
	std::vector<uint8_t> text(payload, 'y');
	net_iov iov = {text.data(), payload};
	uint64_t sent = 0;
	for (auto _ : state) {
		if (ipstack_send(p.s, p.now, p.conn, &iov, 1, 1) != 0)
			std::abort();
		p.drain(nullptr);
		p.ack += payload;
		uint8_t *f = p.number(0, false);
		ipstack_input(p.s, p.now, f, kHdr, true, true, f);
		ipstack_event ev;
		while (ipstack_event_pop(p.s, &ev))
			sent += ev.kind == IPSTACK_EV_SENT;
		ipstack_release(p.s);
		p.now += 10000;
		ipstack_timers(p.s, p.now);
	}
	if (sent != static_cast<uint64_t>(state.iterations()))
		state.SkipWithError("a cookie is missing");
	state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(tcp_send_and_ack)->ArgName("payload")->Arg(100)->Arg(536);

/*
 * A request of `payload` bytes comes and its answer leaves: 32 at a time on one connection, as a
 * client that pipelines sends them. The answers share segments, and the next requests acknowledge
 * them. Nothing is left out but the port: parsing, both directions of TCP, events, headers.
 */
void tcp_request_and_answer(benchmark::State &state)
{
	uint32_t payload = static_cast<uint32_t>(state.range(0));
	Peer p(payload);
	std::vector<uint8_t> text(payload, 'y');
	net_iov iov = {text.data(), payload};
	uint64_t sent = 0, bytes = 0;
	for (auto _ : state) {
		for (uint32_t i = 0; i < kBurst; i++) {
			uint8_t *f = p.number(i, false);
			ipstack_input(p.s, p.now, f, kHdr + payload, true, true, f);
			p.seq += payload;
		}
		ipstack_event ev;
		while (ipstack_event_pop(p.s, &ev)) {
			sent += ev.kind == IPSTACK_EV_SENT;
			if (ev.kind != IPSTACK_EV_DATA)
				continue;
			bytes += ev.data.len;
			if (ipstack_send(p.s, p.now, p.conn, &iov, 1, 1) != 0)
				std::abort();
		}
		ipstack_release(p.s);
		p.drain(nullptr);
		p.ack += kBurst * payload;
		p.now += 10000;
		ipstack_timers(p.s, p.now);
	}
	if (bytes != static_cast<uint64_t>(state.iterations()) * kBurst * payload ||
		sent + kBurst < static_cast<uint64_t>(state.iterations()) * kBurst)
		state.SkipWithError("a request or an answer is missing");
	state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * kBurst));
}
BENCHMARK(tcp_request_and_answer)->ArgName("payload")->Arg(64)->Arg(150);

/* The same with one request at a time: each answer has a segment of its own. */
void tcp_ping_pong(benchmark::State &state)
{
	uint32_t payload = 64;
	Peer p(payload);
	std::vector<uint8_t> text(payload, 'y');
	net_iov iov = {text.data(), payload};
	for (auto _ : state) {
		uint8_t *f = p.number(0, false);
		ipstack_input(p.s, p.now, f, kHdr + payload, true, true, f);
		p.seq += payload;
		ipstack_event ev;
		while (ipstack_event_pop(p.s, &ev))
			if (ev.kind == IPSTACK_EV_DATA &&
				ipstack_send(p.s, p.now, p.conn, &iov, 1, 1) != 0)
				std::abort();
		ipstack_release(p.s);
		if (p.drain(nullptr) != 1)
			std::abort();
		p.ack += payload;
		p.now += 10000;
		ipstack_timers(p.s, p.now);
	}
	state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(tcp_ping_pong);

/* Bulk: 32 full segments leave, one ACK for every second one comes. */
void tcp_bulk_send(benchmark::State &state)
{
	uint32_t payload = 536; /* the peer has told no MSS */
	Peer p(0);
	std::vector<uint8_t> text(kBurst * payload, 'y');
	net_iov iov = {text.data(), kBurst * payload};
	uint64_t left = 0;
	for (auto _ : state) {
		if (ipstack_send(p.s, p.now, p.conn, &iov, 1, 1) != 0)
			std::abort();
		for (uint32_t acked = 0; acked < kBurst; acked += 2) {
			left += p.drain(nullptr);
			p.ack += 2 * payload;
			uint8_t *f = p.number(0, false);
			ipstack_input(p.s, p.now, f, kHdr, true, true, f);
		}
		ipstack_event ev;
		while (ipstack_event_pop(p.s, &ev))
			continue;
		ipstack_release(p.s);
		p.now += 10000;
		ipstack_timers(p.s, p.now);
	}
	if (left != static_cast<uint64_t>(state.iterations()) * kBurst)
		state.SkipWithError("segments are missing");
	state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBurst * payload));
}
BENCHMARK(tcp_bulk_send);

/* Only the ACK: it acknowledges nothing new and everything is idle. */
void tcp_pure_ack(benchmark::State &state)
{
	Peer p(0);
	for (auto _ : state) {
		uint8_t *f = p.number(0, false);
		ipstack_input(p.s, p.now, f, kHdr, true, true, f);
	}
	state.SetItemsProcessed(static_cast<int64_t>(state.iterations()));
}
BENCHMARK(tcp_pure_ack);

} // namespace
