// SPDX-License-Identifier: Apache-2.0
// kafkajs; see tests/lib/matrix.py for what an adapter does. Its packages are those of NODE_PATH.
'use strict'

const readline = require('readline')
const { Kafka, logLevel, Partitioners, CompressionTypes, CompressionCodecs, ConfigResourceTypes } = require('kafkajs')

const LIMIT_MS = 60000

let codecsReady

function loadCodecs() {
  codecsReady = codecsReady || registerCodecs()
  return codecsReady
}

function registerCodecs() {
  const lz4 = require('lz4-napi')
  const zstd = require('@bokuweb/zstd-wasm')
  CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
  CompressionCodecs[CompressionTypes.LZ4] = () => ({
    compress: encoder => lz4.compressFrame(encoder.buffer),
    decompress: buffer => lz4.decompressFrame(buffer),
  })
  CompressionCodecs[CompressionTypes.ZSTD] = () => ({
    compress: async encoder => Buffer.from(zstd.compress(encoder.buffer)),
    decompress: async buffer => Buffer.from(zstd.decompress(buffer)),
  })
  return zstd.init()
}

function say(what) {
  process.stdout.write(JSON.stringify(what) + '\n')
}

function features() {
  say({
    name: 'kafkajs',
    version: require('kafkajs/package.json').version,
    codecs: ['none', 'gzip', 'snappy', 'lz4', 'zstd'],
    strategies: { eager: 'RoundRobinAssigner' },
    new_protocol: false,
    static: false,
    by_time: true,
    serves: true,
    admin: ['describe', 'delete', 'grow', 'configs', 'groups', 'offsets', 'delete_records', 'delete_group'],
  })
}

function client(o) {
  return new Kafka({
    clientId: 'millrace-tests',
    brokers: [o.brokers],
    retry: { initialRetryTime: 100, maxRetryTime: 500, retries: 20 },
    logLevel: logLevel.WARN,
    logCreator: () => entry => process.stderr.write(JSON.stringify(entry) + '\n'),
  })
}

async function produce(o) {
  const codec = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }[o.codec || 'none']
  const p = client(o).producer({ createPartitioner: Partitioners.DefaultPartitioner })
  await p.connect()
  for (let first = 0; first < o.count; first += 60) {
    const messages = []
    for (let i = first; i < Math.min(first + 60, o.count); i++) {
      const m = { key: `k${i % 50}`, value: `${o.prefix}${i}`, partition: i % o.partitions }
      if (o.timestamp_ms !== undefined) m.timestamp = String(o.timestamp_ms + i)
      messages.push(m)
    }
    await p.send({ topic: o.topic, acks: -1, compression: CompressionTypes[codec], messages })
  }
  await p.disconnect()
  say({ acked: o.count })
}

function sayRecord(partition, m) {
  say({ record: [partition, Number(m.offset), String(m.key), String(m.value)] })
}

async function withAdmin(o, what) {
  const admin = client(o).admin()
  await admin.connect()
  try {
    return await what(admin)
  } finally {
    await admin.disconnect()
  }
}

// kafkajs reads as a member of a group only.
async function read(o) {
  const left = new Map()
  for (const { partition, low, high } of await withAdmin(o, a => a.fetchTopicOffsets(o.topic)))
    if (Number(low) < Number(high)) left.set(partition, Number(high))
  if (left.size === 0) return
  const c = client(o).consumer({ groupId: `read-${o.topic}-${Math.random()}`, maxWaitTimeInMs: 100 })
  await c.connect()
  await c.subscribe({ topics: [o.topic], fromBeginning: true })
  let limit
  await new Promise((resolve, reject) => {
    limit = setTimeout(() => reject(new Error(`nothing more comes; wanted: ${[...left]}`)), LIMIT_MS)
    c.run({
      eachMessage: async ({ partition, message }) => {
        const offset = Number(message.offset)
        if (offset >= (left.get(partition) || 0)) return
        sayRecord(partition, message)
        if (offset + 1 === left.get(partition)) left.delete(partition)
        if (left.size === 0) resolve()
      },
    }).catch(reject)
  })
  clearTimeout(limit)
  await c.disconnect()
}

async function member(o) {
  const c = client(o).consumer({
    groupId: o.group,
    sessionTimeout: 6000,
    heartbeatInterval: 500,
    rebalanceTimeout: 10000,
    maxWaitTimeInMs: 200,
  })
  c.on(c.events.GROUP_JOIN, e => say({ assigned: e.payload.memberAssignment[o.topic] || [] }))
  await c.connect()
  await c.subscribe({ topics: [o.topic], fromBeginning: true })
  await c.run({
    autoCommitInterval: 200,
    eachMessage: async ({ partition, message }) => sayRecord(partition, message),
  })
  await new Promise(resolve => process.stdin.on('end', resolve).resume())
  await c.disconnect()
}

async function byTime(o) {
  const found = await withAdmin(o, a => a.fetchTopicOffsetsByTimestamp(o.topic, o.timestamp_ms))
  say({ offsets: Object.fromEntries(found.map(f => [f.partition, Number(f.offset)])) })
}

const topicResource = name => ({ type: ConfigResourceTypes.TOPIC, name })

const steps = {
  async create(a, topic, numPartitions, config) {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    const made = await a.createTopics({ topics: [{ topic, numPartitions, replicationFactor: 1, configEntries }] })
    if (!made) throw new Error(`topic ${topic} exists`)
  },
  list: a => a.listTopics(),
  async describe(a, topic) {
    return (await a.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
  },
  delete: (a, topic) => a.deleteTopics({ topics: [topic] }),
  grow: (a, topic, count) => a.createPartitions({ topicPartitions: [{ topic, count }] }),
  async configs(a, topic) {
    const found = await a.describeConfigs({ includeSynonyms: false, resources: [topicResource(topic)] })
    return Object.fromEntries(found.resources[0].configEntries.map(e => [e.configName, e.configValue]))
  },
  async alter(a, topic, config) {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    await a.alterConfigs({ validateOnly: false, resources: [{ ...topicResource(topic), configEntries }] })
  },
  async delete_records(a, topic, partition, offset) {
    await a.fetchTopicOffsets(topic) // it does not look the topic up by itself
    await a.deleteTopicRecords({ topic, partitions: [{ partition, offset: String(offset) }] })
    return Number((await a.fetchTopicOffsets(topic)).find(p => p.partition === partition).low)
  },
  async groups(a) {
    return (await a.listGroups()).groups.map(g => g.groupId)
  },
  async describe_group(a, group) {
    const g = (await a.describeGroups([group])).groups[0]
    return { state: g.state, members: g.members.length }
  },
  async offsets(a, groupId, topic, partitions) {
    const found = (await a.fetchOffsets({ groupId, topics: [topic] }))[0].partitions
    return Object.fromEntries(found.filter(p => p.partition < partitions).map(p => [p.partition, Number(p.offset)]))
  },
  delete_group: (a, group) => a.deleteGroups([group]),
}

async function admin(o) {
  await withAdmin(o, async a => {
    for (const [name, ...args] of o.steps) {
      try {
        const result = await steps[name](a, ...args)
        say({ result: result === undefined ? null : result })
      } catch (e) {
        say({ error: `${e.name}: ${e.message}` })
      }
    }
  })
}

async function serve() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [verb, options] = JSON.parse(line)
    try {
      await run(verb, options)
      say({ exit: 0 })
    } catch (e) {
      process.stderr.write(`${e.stack}\n`)
      say({ exit: 1 })
    }
  }
}

async function run(verb, options) {
  if (['produce', 'read', 'member'].includes(verb)) await loadCodecs()
  await { features, produce, read, member, by_time: byTime, admin, serve }[verb](options)
}

async function main([verb, options]) {
  await run(verb, JSON.parse(options))
}

main(process.argv.slice(2)).then(
  () => process.exit(0),
  e => {
    process.stderr.write(`${e.stack}\n`)
    process.exit(1)
  },
)
