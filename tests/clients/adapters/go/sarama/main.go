// SPDX-License-Identifier: Apache-2.0

// Adapter of sarama.
package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"millrace/adapters/adapter"
)

type options = adapter.Options

func version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, d := range info.Deps {
		if d.Path == module {
			return strings.TrimPrefix(d.Version, "v")
		}
	}
	return "?"
}

func features(options) error {
	adapter.SayAll(map[string]any{
		"name": "sarama", "version": version("github.com/IBM/sarama"),
		"codecs":       []string{"none", "gzip", "snappy", "lz4", "zstd"},
		"strategies":   map[string]string{"eager": "range", "sticky": "sticky"},
		"new_protocol": false, "static": true, "by_time": true,
		"admin": []string{"describe", "delete", "grow", "configs", "groups", "offsets", "delete_records",
			"delete_group", "delete_offsets"},
	})
	return nil
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = "millrace-tests"
	c.Version = sarama.MaxVersion
	return c
}

func client(o options, c *sarama.Config) (sarama.Client, error) {
	return sarama.NewClient([]string{o.Brokers}, c)
}

func produce(o options) error {
	c := config()
	c.Producer.Return.Successes = true
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Idempotent = true
	c.Net.MaxOpenRequests = 1
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Compression = map[string]sarama.CompressionCodec{"": sarama.CompressionNone,
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy,
		"lz4": sarama.CompressionLZ4, "zstd": sarama.CompressionZSTD}[o.Codec]
	p, err := sarama.NewSyncProducer([]string{o.Brokers}, c)
	if err != nil {
		return err
	}
	messages := []*sarama.ProducerMessage{}
	for i := 0; i < o.Count; i++ {
		m := &sarama.ProducerMessage{Topic: o.Topic, Partition: int32(i % o.Partitions),
			Key: sarama.StringEncoder(fmt.Sprint("k", i%50)), Value: sarama.StringEncoder(fmt.Sprint(o.Prefix, i))}
		if o.TimestampMs != nil {
			m.Timestamp = time.UnixMilli(*o.TimestampMs + int64(i))
		}
		messages = append(messages, m)
	}
	if err := p.SendMessages(messages); err != nil {
		return err
	}
	adapter.Say("acked", o.Count)
	return p.Close()
}

func readPartition(o options, c sarama.Client, consumer sarama.Consumer, partition int32) error {
	low, err := c.GetOffset(o.Topic, partition, sarama.OffsetOldest)
	if err != nil {
		return err
	}
	high, err := c.GetOffset(o.Topic, partition, sarama.OffsetNewest)
	if err != nil || low == high {
		return err
	}
	pc, err := consumer.ConsumePartition(o.Topic, partition, low)
	if err != nil {
		return err
	}
	defer pc.Close()
	limit := time.After(adapter.Limit)
	for {
		select {
		case m := <-pc.Messages():
			adapter.Record(m.Partition, m.Offset, m.Key, m.Value)
			if m.Offset+1 >= high {
				return nil
			}
		case <-limit:
			return fmt.Errorf("partition %d: nothing more comes; %d wanted", partition, high)
		}
	}
}

func read(o options) error {
	c, err := client(o, config())
	if err != nil {
		return err
	}
	defer c.Close()
	consumer, err := sarama.NewConsumerFromClient(c)
	if err != nil {
		return err
	}
	defer consumer.Close()
	for p := 0; p < o.Partitions; p++ {
		if err := readPartition(o, c, consumer, int32(p)); err != nil {
			return err
		}
	}
	return nil
}

type handler struct {
	topic string
	owned adapter.Owned
}

func (h *handler) Setup(s sarama.ConsumerGroupSession) error {
	h.owned.Change(s.Claims()[h.topic], true)
	return nil
}

func (h *handler) Cleanup(s sarama.ConsumerGroupSession) error {
	h.owned.Change(s.Claims()[h.topic], false)
	return nil
}

func (h *handler) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, more := <-claim.Messages():
			if !more {
				return nil
			}
			adapter.Record(m.Partition, m.Offset, m.Key, m.Value)
			s.MarkMessage(m, "")
		case <-s.Context().Done():
			return nil
		}
	}
}

func member(o options) error {
	c := config()
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Interval = 200 * time.Millisecond
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRange()}
	if o.Strategy == "sticky" {
		c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategySticky()}
	}
	c.Consumer.Group.InstanceId = o.Instance
	g, err := sarama.NewConsumerGroup([]string{o.Brokers}, o.Group, c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		adapter.WaitForEndOfInput()
		cancel()
	}()
	h := &handler{topic: o.Topic}
	for ctx.Err() == nil {
		if err := g.Consume(ctx, []string{o.Topic}, h); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return g.Close()
}

func byTime(o options) error {
	c, err := client(o, config())
	if err != nil {
		return err
	}
	defer c.Close()
	offsets := map[string]int64{}
	for p := 0; p < o.Partitions; p++ {
		at, err := c.GetOffset(o.Topic, int32(p), *o.TimestampMs)
		if err != nil {
			return err
		}
		offsets[strconv.Itoa(p)] = at
	}
	adapter.Say("offsets", offsets)
	return nil
}

func topicStep(a sarama.ClusterAdmin, s adapter.Step) (any, error) {
	switch s.Name {
	case "create":
		return nil, a.CreateTopic(s.Text(0), &sarama.TopicDetail{NumPartitions: int32(s.Int(1)), ReplicationFactor: 1,
			ConfigEntries: s.Config(2)}, false)
	case "list":
		found, err := a.ListTopics()
		names := []string{}
		for name := range found {
			names = append(names, name)
		}
		return names, err
	case "describe":
		found, err := a.DescribeTopics([]string{s.Text(0)})
		if err != nil {
			return nil, err
		}
		return len(found[0].Partitions), nil
	case "delete":
		return nil, a.DeleteTopic(s.Text(0))
	case "grow":
		return nil, a.CreatePartitions(s.Text(0), int32(s.Int(1)), nil, false)
	case "configs":
		found, err := a.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: s.Text(0)})
		configs := map[string]string{}
		for _, c := range found {
			configs[c.Name] = c.Value
		}
		return configs, err
	case "alter":
		ops := map[string]sarama.IncrementalAlterConfigsEntry{}
		for k, v := range s.Config(1) {
			ops[k] = sarama.IncrementalAlterConfigsEntry{Operation: sarama.IncrementalAlterConfigsOperationSet, Value: v}
		}
		return nil, a.IncrementalAlterConfig(sarama.TopicResource, s.Text(0), ops, false)
	}
	return nil, fmt.Errorf("no step %s", s.Name)
}

func deleteRecords(c sarama.Client, a sarama.ClusterAdmin, topic string, partition int32, before int64) (any, error) {
	if err := a.DeleteRecords(topic, map[int32]int64{partition: before}); err != nil {
		return nil, err
	}
	return c.GetOffset(topic, partition, sarama.OffsetOldest)
}

func groupStep(c sarama.Client, a sarama.ClusterAdmin, s adapter.Step) (any, error) {
	switch s.Name {
	case "delete_records":
		return deleteRecords(c, a, s.Text(0), int32(s.Int(1)), s.Int(2))
	case "groups":
		found, err := a.ListConsumerGroups()
		ids := []string{}
		for id := range found {
			ids = append(ids, id)
		}
		return ids, err
	case "describe_group":
		found, err := a.DescribeConsumerGroups([]string{s.Text(0)})
		if err != nil {
			return nil, err
		}
		return map[string]any{"state": found[0].State, "members": len(found[0].Members)}, nil
	case "offsets":
		wanted := []int32{}
		for p := int32(0); p < int32(s.Int(2)); p++ {
			wanted = append(wanted, p)
		}
		found, err := a.ListConsumerGroupOffsets(s.Text(0), map[string][]int32{s.Text(1): wanted})
		if err != nil {
			return nil, err
		}
		offsets := map[string]int64{}
		for p, at := range found.Blocks[s.Text(1)] {
			offsets[strconv.Itoa(int(p))] = at.Offset
		}
		return offsets, nil
	case "delete_group":
		return nil, a.DeleteConsumerGroup(s.Text(0))
	case "delete_offsets":
		return nil, a.DeleteConsumerGroupOffset(s.Text(0), s.Text(1), int32(s.Int(2)))
	}
	return topicStep(a, s)
}

func admin(o options) error {
	c, err := client(o, config())
	if err != nil {
		return err
	}
	a, err := sarama.NewClusterAdminFromClient(c)
	if err != nil {
		return err
	}
	defer a.Close()
	return adapter.Admin(o, func(s adapter.Step) (any, error) { return groupStep(c, a, s) })
}

func main() {
	adapter.Main(map[string]func(options) error{"features": features, "produce": produce, "read": read,
		"member": member, "by_time": byTime, "admin": admin})
}
