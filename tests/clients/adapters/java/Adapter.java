// SPDX-License-Identifier: Apache-2.0

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ConsumerGroupListing;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Apache Kafka's own client; see tests/lib/matrix.py for what an adapter does. */
public final class Adapter {
	private static final long LIMIT_S = 60;
	private static final Duration LIMIT = Duration.ofSeconds(LIMIT_S);
	private static final ObjectMapper JSON = new ObjectMapper();
	private static final PrintStream OUT =
		new PrintStream(System.out, true, StandardCharsets.UTF_8);

	private Adapter() {
	}

	private static void say(String name, Object value) {
		say(Map.of(name, value));
	}

	private static void say(Map<String, ?> what) {
		try {
			OUT.println(JSON.writeValueAsString(what));
		} catch (IOException e) {
			throw new IllegalStateException(e);
		}
	}

	private static String version() throws IOException {
		Properties p = new Properties();
		try (var in = KafkaConsumer.class.getResourceAsStream("/kafka/kafka-version.properties")) {
			p.load(in);
		}
		return p.getProperty("version");
	}

	private static void features() throws IOException {
		Map<String, Object> f = new HashMap<>();
		f.put("name", "kafka-clients");
		f.put("version", version());
		f.put("codecs", List.of("none", "gzip", "snappy", "lz4", "zstd"));
		f.put("strategies", Map.of("eager", "org.apache.kafka.clients.consumer.RangeAssignor",
			"cooperative", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
		f.put("new_protocol", true);
		f.put("static", true);
		f.put("by_time", true);
		f.put("serves", true);
		f.put("admin", List.of("describe", "delete", "grow", "configs", "groups", "offsets",
			"delete_records", "delete_group", "delete_offsets"));
		say(f);
	}

	private static Map<String, Object> base(JsonNode o) {
		Map<String, Object> conf = new HashMap<>();
		conf.put("bootstrap.servers", o.get("brokers").asText());
		conf.put("reconnect.backoff.max.ms", "500");
		return conf;
	}

	private static KafkaConsumer<String, String> consumer(Map<String, Object> conf) {
		return new KafkaConsumer<>(conf, new StringDeserializer(), new StringDeserializer());
	}

	private static void produce(JsonNode o) throws Exception {
		Map<String, Object> conf = base(o);
		conf.put("compression.type", o.path("codec").asText("none"));
		conf.put("linger.ms", "5");
		int count = o.get("count").asInt();
		List<Future<RecordMetadata>> sent = new ArrayList<>();
		try (var p = new KafkaProducer<>(conf, new StringSerializer(), new StringSerializer())) {
			for (int i = 0; i < count; i++) {
				Long time = o.has("timestamp_ms") ? o.get("timestamp_ms").asLong() + i : null;
				sent.add(p.send(new ProducerRecord<>(o.get("topic").asText(),
					i % o.get("partitions").asInt(), time, "k" + i % 50,
					o.get("prefix").asText() + i)));
			}
			for (Future<RecordMetadata> f : sent)
				f.get(LIMIT_S, TimeUnit.SECONDS);
		}
		say("acked", count);
	}

	private static void record(ConsumerRecord<String, String> r) {
		say("record", List.of(r.partition(), r.offset(), r.key(), r.value()));
	}

	private static List<TopicPartition> partitions(JsonNode o) {
		List<TopicPartition> all = new ArrayList<>();
		for (int i = 0; i < o.get("partitions").asInt(); i++)
			all.add(new TopicPartition(o.get("topic").asText(), i));
		return all;
	}

	private static void read(JsonNode o) {
		Map<String, Object> conf = base(o);
		conf.put("auto.offset.reset", "none");
		try (var c = consumer(conf)) {
			List<TopicPartition> all = partitions(o);
			Map<TopicPartition, Long> low = c.beginningOffsets(all, LIMIT);
			Map<TopicPartition, Long> left = new HashMap<>(c.endOffsets(all, LIMIT));
			left.entrySet().removeIf(e -> e.getValue() <= low.get(e.getKey()));
			c.assign(left.keySet());
			c.seekToBeginning(left.keySet());
			while (!left.isEmpty()) {
				var some = c.poll(LIMIT);
				if (some.isEmpty())
					throw new IllegalStateException("nothing more comes; wanted: " + left);
				for (ConsumerRecord<String, String> r : some) {
					TopicPartition tp = new TopicPartition(r.topic(), r.partition());
					if (r.offset() >= left.getOrDefault(tp, 0L))
						continue;
					record(r);
					if (r.offset() + 1 == left.get(tp))
						left.remove(tp);
				}
			}
		}
	}

	private static final class Owned implements ConsumerRebalanceListener {
		private final Set<Integer> owned = new TreeSet<>();

		@Override
		public void onPartitionsAssigned(Collection<TopicPartition> parts) {
			parts.forEach(p -> owned.add(p.partition()));
			say("assigned", owned);
		}

		@Override
		public void onPartitionsRevoked(Collection<TopicPartition> parts) {
			parts.forEach(p -> owned.remove(p.partition()));
			say("assigned", owned);
		}
	}

	private static void member(JsonNode o) {
		Map<String, Object> conf = base(o);
		conf.put("group.id", o.get("group").asText());
		conf.put("auto.offset.reset", "earliest");
		conf.put("auto.commit.interval.ms", "200");
		conf.put("metadata.max.age.ms", "10000");
		if (o.path("protocol").asText("classic").equals("classic")) {
			conf.put("session.timeout.ms", "6000");
			conf.put("heartbeat.interval.ms", "500");
			conf.put("partition.assignment.strategy", o.get("strategy").asText());
		} else {
			conf.put("group.protocol", o.get("protocol").asText());
		}
		if (o.has("instance"))
			conf.put("group.instance.id", o.get("instance").asText());
		try (var c = consumer(conf)) {
			c.subscribe(List.of(o.get("topic").asText()), new Owned());
			Thread input = new Thread(Adapter::readToItsEnd);
			input.setDaemon(true);
			input.start();
			while (input.isAlive())
				c.poll(Duration.ofMillis(100)).forEach(Adapter::record);
		}
	}

	private static void readToItsEnd() {
		try {
			System.in.readAllBytes();
		} catch (IOException e) {
			System.err.println(e);
		}
	}

	private static void byTime(JsonNode o) {
		Map<TopicPartition, Long> ask = new HashMap<>();
		partitions(o).forEach(tp -> ask.put(tp, o.get("timestamp_ms").asLong()));
		Map<String, Long> found = new TreeMap<>();
		try (var c = consumer(base(o))) {
			for (var e : c.offsetsForTimes(ask, LIMIT).entrySet()) {
				OffsetAndTimestamp at = e.getValue();
				found.put(String.valueOf(e.getKey().partition()), at == null ? -1 : at.offset());
			}
		}
		say("offsets", found);
	}

	private static Object step(Admin a, String name, JsonNode s) throws Exception {
		String first = s.path(1).asText();
		ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, first);
		switch (name) {
		case "create": {
			NewTopic t = new NewTopic(first, s.get(2).asInt(), (short)1);
			Map<String, String> conf = new HashMap<>();
			s.get(3).fields().forEachRemaining(e -> conf.put(e.getKey(), e.getValue().asText()));
			a.createTopics(List.of(t.configs(conf))).all().get();
			return null;
		}
		case "list":
			return a.listTopics().names().get();
		case "describe":
			return a.describeTopics(List.of(first)).allTopicNames().get().get(first)
				.partitions().size();
		case "delete":
			a.deleteTopics(List.of(first)).all().get();
			return null;
		case "grow":
			a.createPartitions(Map.of(first, NewPartitions.increaseTo(s.get(2).asInt())))
				.all().get();
			return null;
		case "configs": {
			Map<String, String> found = new HashMap<>();
			for (ConfigEntry e : a.describeConfigs(List.of(topic)).all().get().get(topic).entries())
				found.put(e.name(), e.value());
			return found;
		}
		case "alter": {
			List<AlterConfigOp> ops = new ArrayList<>();
			s.get(2).fields().forEachRemaining(e -> ops.add(new AlterConfigOp(
				new ConfigEntry(e.getKey(), e.getValue().asText()), AlterConfigOp.OpType.SET)));
			a.incrementalAlterConfigs(Map.of(topic, ops)).all().get();
			return null;
		}
		case "delete_records": {
			TopicPartition tp = new TopicPartition(first, s.get(2).asInt());
			return a.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(s.get(3).asLong())))
				.lowWatermarks().get(tp).get().lowWatermark();
		}
		default:
			return groupStep(a, name, s, first);
		}
	}

	private static Object groupStep(Admin a, String name, JsonNode s, String group) throws Exception {
		switch (name) {
		case "groups": {
			List<String> ids = new ArrayList<>();
			for (ConsumerGroupListing g : a.listConsumerGroups().all().get())
				ids.add(g.groupId());
			return ids;
		}
		case "describe_group": {
			ConsumerGroupDescription g =
				a.describeConsumerGroups(List.of(group)).all().get().get(group);
			return Map.of("state", g.state().toString(), "members", g.members().size());
		}
		case "offsets": {
			Map<String, Long> found = new TreeMap<>();
			Map<TopicPartition, OffsetAndMetadata> all =
				a.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
			for (int i = 0; i < s.get(3).asInt(); i++) {
				OffsetAndMetadata at = all.get(new TopicPartition(s.get(2).asText(), i));
				found.put(String.valueOf(i), at == null ? -1 : at.offset());
			}
			return found;
		}
		case "delete_group":
			a.deleteConsumerGroups(List.of(group)).all().get();
			return null;
		case "delete_offsets":
			a.deleteConsumerGroupOffsets(group,
				Set.of(new TopicPartition(s.get(2).asText(), s.get(3).asInt()))).all().get();
			return null;
		default:
			throw new IllegalArgumentException(name);
		}
	}

	private static void admin(JsonNode o) throws Exception {
		try (Admin a = Admin.create(base(o))) {
			for (JsonNode s : o.get("steps")) {
				Map<String, Object> said = new HashMap<>();
				try {
					said.put("result", step(a, s.get(0).asText(), s));
				} catch (ExecutionException | KafkaException e) {
					said.put("error", e.toString());
				}
				say(said);
			}
		}
	}

	private static void serve() throws IOException {
		BufferedReader in =
			new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
		for (String line = in.readLine(); line != null; line = in.readLine()) {
			JsonNode ask = JSON.readTree(line);
			try {
				run(ask.get(0).asText(), ask.get(1));
				say("exit", 0);
			} catch (Exception e) {
				e.printStackTrace();
				say("exit", 1);
			}
		}
	}

	/** Loads the classes of every client; nothing listens there. */
	private static void warm() {
		Map<String, Object> conf = new HashMap<>(Map.of("bootstrap.servers", "127.0.0.1:1"));
		for (ApiKeys api : ApiKeys.values())
			api.latestVersion();
		var p = new KafkaProducer<>(conf, new StringSerializer(), new StringSerializer());
		p.close(Duration.ZERO);
		conf.put("group.id", "warm");
		var c = consumer(conf);
		c.subscribe(List.of("warm"));
		c.poll(Duration.ofMillis(100));
		c.close(Duration.ZERO);
		Admin.create(conf).close(Duration.ZERO);
	}

	private static void run(String verb, JsonNode o) throws Exception {
		switch (verb) {
		case "features":
			features();
			break;
		case "produce":
			produce(o);
			break;
		case "read":
			read(o);
			break;
		case "member":
			member(o);
			break;
		case "by_time":
			byTime(o);
			break;
		case "admin":
			admin(o);
			break;
		case "warm":
			warm();
			break;
		case "serve":
			serve();
			break;
		default:
			throw new IllegalArgumentException(verb);
		}
	}

	public static void main(String[] args) throws Exception {
		run(args[0], JSON.readTree(args[1]));
	}
}
