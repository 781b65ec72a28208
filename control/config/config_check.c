/* SPDX-License-Identifier: Apache-2.0 */
/* What no single key can tell: cross checks and derived values. */
#include "control/config/config_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

#define MAX_CONNECTIONS 1000000

__attribute__((format(printf, 3, 4))) static int refuse(
	char *err, size_t size, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(err, size, fmt, ap);
	va_end(ap);
	return -1;
}

/* Whether `word` is an element of a comma separated list; value: what follows "word:" in it. */
static bool list_lookup(const char *list, const char *word, char *value, size_t value_size)
{
	size_t n = strlen(word);
	for (const char *p = list; p && *p;) {
		p += strspn(p, ", \t");
		size_t len = strcspn(p, ", \t");
		bool tagged = value && len > n && p[n] == ':';
		if (strncasecmp(p, word, n) == 0 && (tagged || len == n)) {
			if (value)
				snprintf(value, value_size, "%.*s", tagged ? (int)(len - n - 1) : 0,
					tagged ? p + n + 1 : "");
			return true;
		}
		p += len;
	}
	return false;
}

static bool is_any_address(const char *host)
{
	return host[0] == 0 || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0;
}

static bool is_address(const char *host)
{
	uint8_t a[16];
	return inet_pton(AF_INET, host, a) == 1 || inet_pton(AF_INET6, host, a) == 1;
}

static void drop_controller_listeners(const struct config *c, struct config_listeners *l)
{
	uint32_t kept = 0;
	for (uint32_t i = 0; i < l->count; i++)
		if (!list_lookup(c->controller_listeners, l->v[i].name, NULL, 0))
			l->v[kept++] = l->v[i];
	l->count = kept;
}

static int check_protocol(
	const struct config *c, const struct config_listener *l, char *err, size_t size)
{
	char protocol[64];
	if (!list_lookup(c->listener_protocols, l->name, protocol, sizeof(protocol)))
		snprintf(protocol, sizeof(protocol), "%s", l->name);
	if (strcasecmp(protocol, "PLAINTEXT") == 0)
		return 0;
	return refuse(err, size,
		"listeners: %s would speak %s; this version speaks PLAINTEXT only (a listener of "
		"another "
		"name needs NAME:PLAINTEXT in listener.security.protocol.map)",
		l->name, protocol);
}

/* "A.B.C.D/len" */
static int parse_cidr(const char *text, char host[INET_ADDRSTRLEN])
{
	const char *slash = strchr(text, '/');
	struct in_addr a;
	if (!slash || slash - text >= INET_ADDRSTRLEN)
		return -1;
	memcpy(host, text, (size_t)(slash - text));
	host[slash - text] = 0;
	size_t digits = strspn(slash + 1, "0123456789");
	if (inet_pton(AF_INET, host, &a) != 1 || digits < 1 || digits > 2 || slash[1 + digits])
		return -1;
	int len = slash[1] - '0';
	if (digits == 2)
		len = len * 10 + (slash[2] - '0');
	return len >= 1 && len <= 32 ? 0 : -1;
}

static int check_dpdk_port(const char *port, char *err, size_t size)
{
	static const char *const kinds[] = {
		"pci:", "tap:", "af_xdp:", "af_packet:", "memif:", "ring:"};
	for (size_t i = 0; i < array_size(kinds); i++)
		if (strncmp(port, kinds[i], strlen(kinds[i])) == 0 && port[strlen(kinds[i])])
			return 0;
	return refuse(err, size,
		"dpdk.port=%s: must be pci:ADDR, tap:NAME, af_xdp:IFACE, af_packet:IFACE, "
		"memif:SOCKET or "
		"ring:NAME",
		port);
}

static int check_dpdk(struct config *c, char *err, size_t size)
{
	if (c->transport != CONFIG_TRANSPORT_DPDK)
		return 0;
	char host[INET_ADDRSTRLEN];
	struct in_addr a;
	if (!c->dpdk_port[0])
		return refuse(err, size,
			"network.transport=dpdk needs dpdk.port, such as dpdk.port=af_xdp:eth1");
	if (check_dpdk_port(c->dpdk_port, err, size) < 0)
		return -1;
	if (!c->dpdk_address[0])
		return refuse(err, size,
			"network.transport=dpdk needs dpdk.address, such as "
			"dpdk.address=192.0.2.1/24");
	if (parse_cidr(c->dpdk_address, host) < 0)
		return refuse(err, size, "dpdk.address=%s: must be A.B.C.D/len", c->dpdk_address);
	if (c->dpdk_gateway[0] && inet_pton(AF_INET, c->dpdk_gateway, &a) != 1)
		return refuse(err, size, "dpdk.gateway=%s: must be A.B.C.D", c->dpdk_gateway);
	struct config_listener *l = &c->listeners.v[0];
	if (!c->given[CONFIG_KEY_listeners] || is_any_address(l->host))
		snprintf(l->host, sizeof(l->host), "%s", host);
	if (strcmp(l->host, host) != 0)
		return refuse(err, size,
			"listeners: with network.transport=dpdk the host must be the port's "
			"address %s, or "
			"empty, not %s",
			host, l->host);
	if (l->port == 0)
		return refuse(
			err, size, "listeners: with network.transport=dpdk the port must not be 0");
	return 0;
}

static int check_listeners(struct config *c, char *err, size_t size)
{
	drop_controller_listeners(c, &c->listeners);
	if (c->listeners.count == 0)
		return refuse(err, size, "listeners: none is left for clients");
	if (c->listeners.count > 1)
		return refuse(err, size, "listeners: this version serves one listener, not %u",
			c->listeners.count);
	struct config_listener *l = &c->listeners.v[0];
	if (check_protocol(c, l, err, size) < 0)
		return -1;
	if (strcasecmp(l->host, "localhost") == 0)
		snprintf(l->host, sizeof(l->host), "127.0.0.1");
	if (l->host[0] && !is_address(l->host))
		return refuse(err, size,
			"listeners: %s is not an address of this machine to bind to; give the "
			"address here "
			"and the name in advertised.listeners",
			l->host);
	return 0;
}

static int check_advertised(struct config *c, const char *hostname, char *err, size_t size)
{
	struct config_listeners *a = &c->advertised_listeners;
	drop_controller_listeners(c, a);
	if (a->count == 0) {
		*a = c->listeners;
		if (is_any_address(a->v[0].host))
			snprintf(a->v[0].host, sizeof(a->v[0].host), "%s", hostname);
		return 0;
	}
	if (a->count > 1 || strcmp(a->v[0].name, c->listeners.v[0].name) != 0)
		return refuse(err, size,
			"advertised.listeners: must be the listener %s and no other",
			c->listeners.v[0].name);
	if (is_any_address(a->v[0].host))
		return refuse(err, size,
			"advertised.listeners: clients cannot connect to \"%s\"; name a host",
			a->v[0].host);
	if (a->v[0].port == 0)
		a->v[0].port = c->listeners.v[0].port;
	return 0;
}

static int check_admin(const struct config *c, char *err, size_t size)
{
	if (c->admin_listener.count == 0)
		return 0;
	const struct config_listener *a = &c->admin_listener.v[0], *l = &c->listeners.v[0];
	if (a->host[0] && !is_address(a->host) && strcasecmp(a->host, "localhost") != 0)
		return refuse(err, size,
			"admin.listener: %s is not an address of this machine to bind to", a->host);
	bool same_host =
		strcmp(a->host, l->host) == 0 || is_any_address(a->host) || is_any_address(l->host);
	if (a->port != 0 && a->port == l->port && same_host &&
		c->transport == CONFIG_TRANSPORT_KERNEL)
		return refuse(err, size, "admin.listener and listeners both want port %u", a->port);
	return 0;
}

static int check_sizes(const struct config *c, char *err, size_t size)
{
	int64_t batch = c->message_max_bytes;
	if (batch > c->segment_bytes)
		return refuse(err, size,
			"message.max.bytes=%lld is more than log.segment.bytes=%lld: a batch lies "
			"in one segment",
			(long long)batch, (long long)c->segment_bytes);
	/* a batch fits into its shard's share several times over, or one batch could stall all
	 * others */
	int64_t share = c->memory_log_bytes / max_of(c->shards, 1);
	if (batch > share / 4)
		return refuse(err, size,
			"memory.log.bytes=%lld is too little for message.max.bytes=%lld: each of "
			"%d shards needs "
			"room for four batches (%lld)",
			(long long)c->memory_log_bytes, (long long)batch, max_of(c->shards, 1),
			(long long)batch * 4 * max_of(c->shards, 1));
	if (batch > c->request_max_bytes)
		return refuse(err, size,
			"message.max.bytes=%lld is more than socket.request.max.bytes=%lld",
			(long long)batch, (long long)c->request_max_bytes);
	if (c->request_max_bytes > c->memory_request_bytes)
		return refuse(err, size,
			"socket.request.max.bytes=%lld is more than memory.request.bytes=%lld: the "
			"largest "
			"request must fit into the memory for requests",
			(long long)c->request_max_bytes, (long long)c->memory_request_bytes);
	return 0;
}

static int check_cluster_id(const struct config *c, char *err, size_t size)
{
	const char *id = c->cluster_id;
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	if (id[0] == 0 || (strlen(id) == 22 && strspn(id, alphabet) == 22))
		return 0;
	return refuse(err, size, "cluster.id=%s: must have 22 characters of A-Z a-z 0-9 - _", id);
}

static int check_compression(const struct config *c, char *err, size_t size)
{
	const char *v = c->compression_type;
	if (config_choice_index("producer|uncompressed|gzip|snappy|lz4|zstd", v, strlen(v)) >= 0)
		return 0;
	return refuse(err, size,
		"compression.type=%s: must be producer, uncompressed, gzip, snappy, lz4 or zstd",
		v);
}

static int check_cpus(const char *cpu_key, const struct config_cpus *cpus, const char *count_key,
	int32_t *count, char *err, size_t size)
{
	if (cpus->count == 0)
		return 0;
	if (*count == 0)
		*count = (int32_t)cpus->count;
	if ((uint32_t)*count > cpus->count)
		return refuse(err, size, "%s names %u CPUs for %s=%d: name one for each", cpu_key,
			cpus->count, count_key, *count);
	return 0;
}

static int check_threads(struct config *c, char *err, size_t size)
{
	if (c->shard_listeners)
		return refuse(err, size,
			"shard.listeners=true is not supported by this version; every shard serves "
			"the one "
			"listener");
	if (c->storage_cpus.count > 16)
		return refuse(err, size, "storage.cpus: must be at most 16 CPUs");
	if (check_cpus("shard.cpus", &c->shard_cpus, "shards", &c->shards, err, size) < 0)
		return -1;
	return check_cpus("storage.cpus", &c->storage_cpus, "storage.workers", &c->storage_workers,
		err, size);
}

static int check_dirs(struct config *c, char *err, size_t size)
{
	char cwd[CONFIG_TEXT_MAX] = "";
	struct config_dirs *d = &c->log_dirs;
	for (uint16_t i = 0; i < d->count; i++) {
		char *path = d->path[i];
		char full[CONFIG_TEXT_MAX * 2];
		if (path[0] != '/') {
			if (!cwd[0] && !getcwd(cwd, sizeof(cwd)))
				return refuse(err, size, "log.dirs: %s has no absolute path: %s",
					path, strerror(errno));
			const char *rel = strncmp(path, "./", 2) == 0 ? path + 2 : path;
			snprintf(
				full, sizeof(full), "%s/%s", strcmp(cwd, "/") == 0 ? "" : cwd, rel);
			if (strlen(full) >= CONFIG_TEXT_MAX)
				return refuse(err, size, "log.dirs: %s has more than %d characters",
					full, CONFIG_TEXT_MAX - 1);
			memcpy(path, full, strlen(full) + 1);
		}
		size_t n = strlen(path);
		while (n > 1 && path[n - 1] == '/')
			path[--n] = 0;
		for (uint16_t j = 0; j < i; j++)
			if (strcmp(d->path[j], path) == 0)
				return refuse(err, size, "log.dirs names %s twice", path);
	}
	return 0;
}

static int64_t times(int64_t n, int64_t factor)
{
	int64_t v;
	if (n < 0)
		return -1;
	return __builtin_mul_overflow(n, factor, &v) ? INT64_MAX : v;
}

static void derive_times(struct config *c)
{
	c->retention_ms = times(c->retention_hours, 3600000);
	if (c->retention_minutes != CONFIG_UNSET)
		c->retention_ms = times(c->retention_minutes, 60000);
	if (c->retention_ms_key != CONFIG_UNSET)
		c->retention_ms = c->retention_ms_key;
	c->roll_ms =
		c->roll_ms_key != CONFIG_UNSET ? c->roll_ms_key : times(c->roll_hours, 3600000);
}

static int check_groups(const struct config *c, char *err, size_t size)
{
	if (c->group_min_session_timeout_ms > c->group_max_session_timeout_ms)
		return refuse(err, size,
			"group.min.session.timeout.ms=%lld is more than "
			"group.max.session.timeout.ms=%lld",
			(long long)c->group_min_session_timeout_ms,
			(long long)c->group_max_session_timeout_ms);
	if (c->group_consumer_heartbeat_interval_ms >= c->group_consumer_session_timeout_ms)
		return refuse(err, size,
			"group.consumer.heartbeat.interval.ms=%lld is not less than "
			"group.consumer.session.timeout.ms=%lld",
			(long long)c->group_consumer_heartbeat_interval_ms,
			(long long)c->group_consumer_session_timeout_ms);
	return 0;
}

static int check_compaction(const struct config *c, char *err, size_t size)
{
	if (c->cleaner_min_lag_ms > c->cleaner_max_lag_ms)
		return refuse(err, size,
			"log.cleaner.min.compaction.lag.ms=%lld is more than "
			"log.cleaner.max.compaction.lag.ms=%lld",
			(long long)c->cleaner_min_lag_ms, (long long)c->cleaner_max_lag_ms);
	return 0;
}

int config_finish(struct config *c, const char *hostname, char *err, size_t err_size)
{
	c->max_connections = min_of(c->max_connections, MAX_CONNECTIONS);
	if (check_listeners(c, err, err_size) < 0 || check_dpdk(c, err, err_size) < 0 ||
		check_advertised(c, hostname, err, err_size) < 0 ||
		check_admin(c, err, err_size) < 0 || check_threads(c, err, err_size) < 0 ||
		check_sizes(c, err, err_size) < 0 || check_cluster_id(c, err, err_size) < 0 ||
		check_compression(c, err, err_size) < 0 || check_groups(c, err, err_size) < 0 ||
		check_compaction(c, err, err_size) < 0 || check_dirs(c, err, err_size) < 0)
		return -1;
	derive_times(c);
	return 0;
}

int config_refresh(struct config *c, char *err, size_t err_size)
{
	if (check_sizes(c, err, err_size) < 0 || check_compression(c, err, err_size) < 0 ||
		check_compaction(c, err, err_size) < 0)
		return -1;
	derive_times(c);
	return 0;
}
