// A plain consumer with the AWS SDK for JavaScript: every shard after its parent. Prints "ID VERSION" for each change, until it is
// stopped. node reader.js ENDPOINT TABLE

import { DescribeTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import {
  DescribeStreamCommand, DynamoDBStreamsClient, GetRecordsCommand, GetShardIteratorCommand,
} from "@aws-sdk/client-dynamodb-streams";

const [endpoint, table] = process.argv.slice(2);
const config = { endpoint, region: "us-east-1" };
const tables = new DynamoDBClient(config);
const streams = new DynamoDBStreamsClient(config);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function patient(call, otherwise) {
  try {
    return await call();
  } catch (error) {
    console.error(error.name, error.message);
    return otherwise;
  }
}

async function listShards(StreamArn) {
  const listed = [];
  let ExclusiveStartShardId;
  do {
    const page = await streams.send(new DescribeStreamCommand({ StreamArn, ExclusiveStartShardId }));
    listed.push(...page.StreamDescription.Shards);
    ExclusiveStartShardId = page.StreamDescription.LastEvaluatedShardId;
  } while (ExclusiveStartShardId);
  return listed;
}

// One page; whether there was something on it.
async function read(StreamArn, ShardId, shard) {
  if (!shard.iterator) {
    const after = shard.last
      ? { ShardIteratorType: "AFTER_SEQUENCE_NUMBER", SequenceNumber: shard.last }
      : { ShardIteratorType: "TRIM_HORIZON" };
    shard.iterator = (await streams.send(new GetShardIteratorCommand({ StreamArn, ShardId, ...after }))).ShardIterator;
  }
  const ShardIterator = shard.iterator;
  // Whatever goes wrong: the next one begins where this one was.
  shard.iterator = undefined;
  const page = await streams.send(new GetRecordsCommand({ ShardIterator }));
  // An answer that broke off has no fields.
  if (!page.Records) throw new Error("no records");
  const lines = page.Records.map(({ dynamodb }) => `${dynamodb.NewImage.Id.S} ${dynamodb.NewImage.v.N}\n`);
  process.stdout.write(lines.join(""));
  shard.last = page.Records.at(-1)?.dynamodb.SequenceNumber ?? shard.last;
  shard.iterator = page.NextShardIterator;
  shard.ended = !page.NextShardIterator;
  return lines.length > 0;
}

const describe = async () => (await tables.send(new DescribeTableCommand({ TableName: table }))).Table.LatestStreamArn;
let arn;
while (!arn) arn = await patient(describe);
const shards = new Map();
let listedAt = 0;
for (;;) {
  if (Date.now() - listedAt > 1000) {
    listedAt = Date.now();
    for (const { ShardId, ParentShardId } of await patient(() => listShards(arn), [])) {
      if (!shards.has(ShardId)) shards.set(ShardId, { parent: ParentShardId });
    }
  }
  // A parent that is not listed has been trimmed.
  const ready = [...shards].filter(([, shard]) => !shard.ended && (shards.get(shard.parent)?.ended ?? true));
  const busy = await Promise.all(ready.map(([id, shard]) => patient(() => read(arn, id, shard), false)));
  if (!busy.some(Boolean)) await wait(200);
}
