// SPDX-License-Identifier: Apache-2.0

// Adapter of franz-go.
package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

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
		"name": "franz-go", "version": version("github.com/twmb/franz-go"),
		"codecs":       []string{"none", "gzip", "snappy", "lz4", "zstd"},
		"strategies":   map[string]string{"eager": "range", "cooperative": "cooperative-sticky"},
		"new_protocol": false, "static": true, "by_time": true,
		"admin": []string{"describe", "delete", "grow", "configs", "groups", "offsets", "delete_records",
			"delete_group", "delete_offsets"},
	})
	return nil
}

func limited() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), adapter.Limit)
}

func client(o options, more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(o.Brokers)}, more...)...)
}

func produce(o options) error {
	codec := map[string]kgo.CompressionCodec{"": kgo.NoCompression(), "none": kgo.NoCompression(),
		"gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(),
		"zstd": kgo.ZstdCompression()}[o.Codec]
	c, err := client(o, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec),
		kgo.ProducerLinger(5*time.Millisecond))
	if err != nil {
		return err
	}
	defer c.Close()
	records := []*kgo.Record{}
	for i := 0; i < o.Count; i++ {
		r := &kgo.Record{Topic: o.Topic, Partition: int32(i % o.Partitions), Key: []byte(fmt.Sprint("k", i%50)),
			Value: []byte(fmt.Sprint(o.Prefix, i))}
		if o.TimestampMs != nil {
			r.Timestamp = time.UnixMilli(*o.TimestampMs + int64(i))
		}
		records = append(records, r)
	}
	ctx, cancel := limited()
	defer cancel()
	if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return err
	}
	adapter.Say("acked", o.Count)
	return nil
}

func read(o options) error {
	c, err := client(o)
	if err != nil {
		return err
	}
	defer c.Close()
	a := kadm.NewClient(c)
	ctx, cancel := limited()
	defer cancel()
	low, err := a.ListStartOffsets(ctx, o.Topic)
	if err != nil {
		return err
	}
	high, err := a.ListEndOffsets(ctx, o.Topic)
	if err != nil {
		return err
	}
	left, from := map[int32]int64{}, map[int32]kgo.Offset{}
	high.Each(func(h kadm.ListedOffset) {
		if l, _ := low.Lookup(o.Topic, h.Partition); l.Offset < h.Offset {
			left[h.Partition] = h.Offset
			from[h.Partition] = kgo.NewOffset().At(l.Offset)
		}
	})
	c.AddConsumePartitions(map[string]map[int32]kgo.Offset{o.Topic: from})
	for len(left) > 0 {
		some := c.PollFetches(ctx)
		if err := some.Err(); err != nil {
			return fmt.Errorf("%w; %v wanted", err, left)
		}
		some.EachRecord(func(r *kgo.Record) {
			if r.Offset < left[r.Partition] {
				adapter.Record(r.Partition, r.Offset, r.Key, r.Value)
				if r.Offset+1 == left[r.Partition] {
					delete(left, r.Partition)
				}
			}
		})
	}
	return nil
}

func member(o options) error {
	balancer := kgo.RangeBalancer()
	if o.Strategy == "cooperative-sticky" {
		balancer = kgo.CooperativeStickyBalancer()
	}
	var owned adapter.Owned
	gone := func(_ context.Context, _ *kgo.Client, parts map[string][]int32) { owned.Change(parts[o.Topic], false) }
	more := []kgo.Opt{kgo.ConsumerGroup(o.Group), kgo.ConsumeTopics(o.Topic), kgo.Balancers(balancer),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.SessionTimeout(6 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond), kgo.AutoCommitInterval(200 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			owned.Change(parts[o.Topic], true)
		}),
		kgo.OnPartitionsRevoked(func(ctx context.Context, c *kgo.Client, parts map[string][]int32) {
			c.CommitMarkedOffsets(ctx)
			gone(ctx, c, parts)
		}),
		kgo.OnPartitionsLost(gone)}
	if o.Instance != "" {
		more = append(more, kgo.InstanceID(o.Instance))
	}
	c, err := client(o, more...)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		adapter.WaitForEndOfInput()
		cancel()
	}()
	for ctx.Err() == nil {
		c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			adapter.Record(r.Partition, r.Offset, r.Key, r.Value)
		})
	}
	last, cancelLast := limited()
	defer cancelLast()
	err = c.CommitUncommittedOffsets(last)
	c.Close()
	return err
}

func byTime(o options) error {
	c, err := client(o)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := limited()
	defer cancel()
	found, err := kadm.NewClient(c).ListOffsetsAfterMilli(ctx, *o.TimestampMs, o.Topic)
	if err != nil {
		return err
	}
	offsets := map[string]int64{}
	found.Each(func(l kadm.ListedOffset) { offsets[strconv.Itoa(int(l.Partition))] = l.Offset })
	adapter.Say("offsets", offsets)
	return nil
}

func topicStep(ctx context.Context, a *kadm.Client, s adapter.Step) (any, error) {
	switch s.Name {
	case "create":
		_, err := a.CreateTopic(ctx, int32(s.Int(1)), 1, s.Config(2), s.Text(0))
		return nil, err
	case "list":
		found, err := a.ListTopics(ctx)
		return found.Names(), err
	case "describe":
		found, err := a.ListTopics(ctx, s.Text(0))
		return len(found[s.Text(0)].Partitions), err
	case "delete":
		found, err := a.DeleteTopics(ctx, s.Text(0))
		if err == nil {
			err = found[s.Text(0)].Err
		}
		return nil, err
	case "grow":
		found, err := a.UpdatePartitions(ctx, int(s.Int(1)), s.Text(0))
		if err == nil {
			err = found[s.Text(0)].Err
		}
		return nil, err
	case "configs":
		found, err := a.DescribeTopicConfigs(ctx, s.Text(0))
		if err != nil {
			return nil, err
		}
		configs := map[string]*string{}
		for _, c := range found[0].Configs {
			configs[c.Key] = c.Value
		}
		return configs, found[0].Err
	case "alter":
		ops := []kadm.AlterConfig{}
		for k, v := range s.Config(1) {
			ops = append(ops, kadm.AlterConfig{Op: kadm.SetConfig, Name: k, Value: v})
		}
		found, err := a.AlterTopicConfigs(ctx, ops, s.Text(0))
		if err == nil {
			err = found[0].Err
		}
		return nil, err
	case "delete_records":
		before := kadm.Offsets{}
		before.AddOffset(s.Text(0), int32(s.Int(1)), s.Int(2), -1)
		found, err := a.DeleteRecords(ctx, before)
		if err != nil {
			return nil, err
		}
		p := found[s.Text(0)][int32(s.Int(1))]
		return p.LowWatermark, p.Err
	}
	return nil, fmt.Errorf("no step %s", s.Name)
}

func groupStep(ctx context.Context, a *kadm.Client, s adapter.Step) (any, error) {
	switch s.Name {
	case "groups":
		found, err := a.ListGroups(ctx)
		return found.Groups(), err
	case "describe_group":
		found, err := a.DescribeGroups(ctx, s.Text(0))
		if err != nil {
			return nil, err
		}
		g := found[s.Text(0)]
		return map[string]any{"state": g.State, "members": len(g.Members)}, g.Err
	case "offsets":
		found, err := a.FetchOffsets(ctx, s.Text(0))
		offsets := map[string]int64{}
		for p := int32(0); p < int32(s.Int(2)); p++ {
			offsets[strconv.Itoa(int(p))] = -1
			if at, ok := found.Lookup(s.Text(1), p); ok {
				offsets[strconv.Itoa(int(p))] = at.At
			}
		}
		return offsets, err
	case "delete_group":
		_, err := a.DeleteGroup(ctx, s.Text(0))
		return nil, err
	case "delete_offsets":
		which := kadm.TopicsSet{}
		which.Add(s.Text(1), int32(s.Int(2)))
		found, err := a.DeleteOffsets(ctx, s.Text(0), which)
		if err == nil {
			err = found.Error()
		}
		return nil, err
	}
	return topicStep(ctx, a, s)
}

func admin(o options) error {
	c, err := client(o)
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := limited()
	defer cancel()
	a := kadm.NewClient(c)
	return adapter.Admin(o, func(s adapter.Step) (any, error) { return groupStep(ctx, a, s) })
}

func main() {
	adapter.Main(map[string]func(options) error{"features": features, "produce": produce, "read": read,
		"member": member, "by_time": byTime, "admin": admin})
}
