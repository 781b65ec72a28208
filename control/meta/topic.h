/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MR_META_TOPIC_H
#define MR_META_TOPIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/uuid.h"
#include "control/config/config.h"
#include "kafka/image.h"

/*
 * The topic table: which topics exist, with how many partitions and which settings. PURE:
 * randomness (topic ids) and everything else comes from outside. Owned by the control thread. The
 * table allocates with malloc; a function that runs out of memory leaves the table as it was.
 */

#define TOPIC_OFFSETS "__consumer_offsets"
/* Partitions that one CreateTopics request may ask for (Kafka: KAFKA-19760). */
#define TOPIC_REQUEST_MAX_PARTITIONS 10000
#define TOPIC_ERROR_MAX 320

/* Types of topic settings. */
enum topic_setting_type {
	TOPIC_SET_INT,	/* integer within min..max */
	TOPIC_SET_BOOL, /* true or false */
	TOPIC_SET_ENUM, /* one of choices */
	TOPIC_SET_LIST, /* comma separated list out of choices */
	TOPIC_SET_REAL, /* 0 to 1 */
	TOPIC_SET_TEXT, /* anything */
};

/* One setting that a topic can have. */
struct topic_setting_desc {
	const char *name;
	enum topic_setting_type type;
	const char *def; /* Kafka's default, as text */
	int64_t min;
	int64_t max;
	const char *choices; /* a|b|c */
	int broker_key;	     /* enum config_key that gives the default; -1: none */
	const char *help;    /* NULL: that of broker_key */
};
/* What it says to operators. Static text. */
const char *topic_setting_help(const struct topic_setting_desc *desc);
enum config_kind topic_setting_kind(const struct topic_setting_desc *desc);

/* All of them, in order of name. */
const struct topic_setting_desc *topic_settings(uint32_t *count);

/* A setting given for one topic. */
struct topic_setting {
	const struct topic_setting_desc *desc;
	char *value; /* the table's */
};

/* Immutable once it is in a table; shared by the tables that were cloned from each other. */
struct topic {
	uint32_t refs;
	char name[IMAGE_TOPIC_NAME_MAX + 1];
	struct uuid id;
	bool internal;
	int32_t partition_count;
	uint32_t *part_ids; /* dense ids in the image, kept for the topic's life; the table's */
	uint32_t setting_count;
	struct topic_setting *settings; /* the table's */
};

/* What a part id is. */
enum topic_part_id {
	TOPIC_ID_FREE,
	TOPIC_ID_USED,
	TOPIC_ID_OFFLINE, /* used; its log has failed. Not stored: a restart tries again */
	TOPIC_ID_GONE,	  /* of a deleted topic whose logs may still be there */
};

struct topics {
	uint32_t count;
	uint32_t size;
	struct topic **v; /* in order of name */
	uint32_t gone_count;
	uint32_t gone_size;
	struct topic **gone; /* deleted; their logs may still be there. In order of deletion */
	uint8_t *id_state;   /* enum topic_part_id, by part id */
	uint32_t id_size;
	uint32_t id_limit; /* above every id that is not free */
	uint32_t id_hint;  /* below it none is free */
};

void topics_init(struct topics *t);
void topics_fini(struct topics *t);
/* An independent table with the same topics, for a change that may not come about. -1: no memory.
 */
int topics_clone(struct topics *dst, const struct topics *src);
/* NULL: no such topic. Borrowed until the next change. */
const struct topic *topics_find(const struct topics *t, struct kstr name);
const struct topic *topics_find_id(const struct topics *t, const struct uuid *id);

/* One setting as a request gives it; borrowed. The last of a name wins. */
struct topic_setting_arg {
	struct kstr name;
	struct kstr value;
};

/* Replicas of one partition, as CreateTopics may give them; borrowed. */
struct topic_assignment {
	int32_t partition;
	const int32_t *brokers;
	int32_t broker_count;
};

/* What is to be created; borrowed. */
struct topic_spec {
	struct kstr name;
	int32_t partitions;  /* -1: num.partitions */
	int16_t replication; /* -1: default.replication.factor */
	const struct topic_assignment *assignments;
	int32_t assignment_count;
	const struct topic_setting_arg *settings;
	int32_t setting_count;
	struct uuid id; /* fresh and random */
	bool internal;	/* made by the broker, which alone may use TOPIC_OFFSETS and the like */
};

/*
 * Whether the topic could be created: KE_NONE, or Kafka's error code with a sentence in err (at
 * most TOPIC_ERROR_MAX): INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_PARTITIONS,
 * INVALID_REPLICATION_FACTOR, INVALID_REPLICA_ASSIGNMENT, INVALID_CONFIG, INVALID_REQUEST,
 * POLICY_VIOLATION. cfg gives defaults and this broker's id; it is borrowed.
 */
int16_t topics_validate(const struct topics *t, const struct config *cfg,
	const struct topic_spec *spec, char *err, size_t err_size);
/* topics_validate, then adds the topic. Also UNKNOWN_SERVER_ERROR when memory is short. */
int16_t topics_create(struct topics *t, const struct config *cfg, const struct topic_spec *spec,
	char *err, size_t err_size);
/* Partitions that the topic would get. */
int32_t topic_spec_partitions(const struct topic_spec *spec, const struct config *cfg);
/*
 * Takes the topic out; its name is free. KE_NONE, UNKNOWN_TOPIC_OR_PARTITION or (memory is short)
 * UNKNOWN_SERVER_ERROR. A tombstone in `gone` remembers that its logs are to be deleted, and keeps
 * its part ids taken, until topics_forget.
 */
int16_t topics_delete(struct topics *t, struct kstr name);

/* What is to be done to one setting; the numbers of KIP-339. */
enum topic_alter_op {
	TOPIC_ALTER_SET = 0,
	TOPIC_ALTER_DELETE = 1, /* back to the default */
	TOPIC_ALTER_APPEND = 2, /* to a list */
	TOPIC_ALTER_SUBTRACT = 3,
};
struct topic_alter_arg {
	struct kstr name;
	struct kstr value;
	int8_t op; /* enum topic_alter_op, as a client sent it */
};
/* Borrowed. */
struct topic_alteration {
	struct kstr name;
	const struct topic_alter_arg *args;
	int32_t count;
	bool replace; /* what is not named goes back to its default (AlterConfigs) */
};
/*
 * Changes settings of a topic, all or none. KE_NONE, or with a sentence in err
 * UNKNOWN_TOPIC_OR_PARTITION, INVALID_REQUEST (a name twice, a value missing, no such operation),
 * INVALID_CONFIG, or (memory is short) UNKNOWN_SERVER_ERROR.
 */
int16_t topics_alter(struct topics *t, const struct config *cfg, const struct topic_alteration *a,
	char *err, size_t err_size);

/* More partitions for a topic; borrowed. */
struct topic_growth {
	struct kstr name;
	int32_t count; /* of all of them */
	const struct topic_assignment
		*assignments;	  /* of the new ones; partition is not looked at */
	int32_t assignment_count; /* -1: none given */
};
/*
 * KE_NONE, or with a sentence in err UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS,
 * INVALID_REPLICA_ASSIGNMENT, POLICY_VIOLATION (too many), INVALID_REQUEST (a topic of the
 * broker's own) or (memory is short) UNKNOWN_SERVER_ERROR.
 */
int16_t topics_grow(struct topics *t, const struct config *cfg, const struct topic_growth *g,
	char *err, size_t err_size);

/* Every log of the deleted topic is gone: its tombstone goes, its part ids are free again. False:
 * there is no such tombstone. */
bool topics_forget(struct topics *t, const struct uuid *id);
/* The log of the partition with that id has failed. False: that was known, or the id is not used.
 */
bool topics_set_offline(struct topics *t, uint32_t part_id);
static inline bool topics_is_offline(const struct topics *t, uint32_t part_id)
{
	return part_id < t->id_limit && t->id_state[part_id] == TOPIC_ID_OFFLINE;
}
/* For loading: a topic with its part ids and settings as they were; borrows. */
struct topic_stored {
	struct kstr name;
	struct uuid id;
	bool internal;
	int32_t partition_count;
	const uint32_t *part_ids;
	const struct topic_setting_arg *settings; /* checked as in topics_validate */
	int32_t setting_count;
};
/*
 * Adds it. 0; -1 with what is wrong in err: name invalid or there twice, id zero,
 * part id taken or too large, setting unknown, no memory. The table is then only good for
 * topics_fini.
 */
int topics_restore(struct topics *t, const struct topic_stored *stored, char *err, size_t err_size);
/* The same for a tombstone; settings do not count, and its name may be there any number of times.
 */
int topics_restore_gone(
	struct topics *t, const struct topic_stored *stored, char *err, size_t err_size);
/* Whether the broker keeps the name for itself. */
bool topic_name_reserved(struct kstr name);

/* What the data path looks at, from the topic's settings and the broker's defaults. */
struct image_topic_config topic_image_config(const struct topic *topic, const struct config *cfg);

/* ConfigSource on the wire. */
enum topic_setting_source {
	TOPIC_SRC_TOPIC = 1,
	TOPIC_SRC_DYNAMIC_BROKER = 2,
	TOPIC_SRC_DYNAMIC_DEFAULT = 3,
	TOPIC_SRC_STATIC_BROKER = 4,
	TOPIC_SRC_DEFAULT = 5,
};
/* The effective value of one setting as text into out (cut to size), and where it comes from. topic
   may be NULL: a topic without settings of its own. */
enum topic_setting_source topic_setting_value(const struct topic *topic,
	const struct topic_setting_desc *desc, const struct config *cfg, char *out, size_t size);

#endif
