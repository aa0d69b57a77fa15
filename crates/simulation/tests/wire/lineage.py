"""A careful consumer in plain boto3: writes to a table while its shards rotate and split, and reads all generations.

Prints one JSON object: what was written per key in order, what was read per key in order, and the depth of the lineage.
"""

import json
import sys
import time

import boto3
from botocore.config import Config

ENDPOINT, SECONDS = sys.argv[1], float(sys.argv[2])
# More empty pages in a row than the service gives before records.
QUIET_PAGES = 60
# The client tries again by itself what may pass; that is what its users have.
CONFIG = Config(region_name="us-east-1", retries={"max_attempts": 10, "mode": "standard"})
KEYS = {"aws_access_key_id": "any", "aws_secret_access_key": "any", "endpoint_url": ENDPOINT, "config": CONFIG}
tables, streams = boto3.client("dynamodb", **KEYS), boto3.client("dynamodbstreams", **KEYS)


def make_table():
    tables.create_table(
        TableName="Events",
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "Id", "KeyType": "HASH"}, {"AttributeName": "Fecha", "KeyType": "RANGE"}],
        AttributeDefinitions=[
            {"AttributeName": "Id", "AttributeType": "S"},
            {"AttributeName": "Fecha", "AttributeType": "S"},
        ],
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )
    return tables.describe_table(TableName="Events")["Table"]["LatestStreamArn"]


def write(written):
    """One write of each kind per round; conditions and transactions among them."""
    round_number = 0
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        for number in range(10):
            key = {"Id": {"S": f"item {number}"}, "Fecha": {"S": "2026-11-24"}}
            value = {"N": str(round_number)}
            name = key["Id"]["S"]
            if round_number % 5 == 4:
                tables.delete_item(TableName="Events", Key=key)
                written.setdefault(name, []).append(None)
                continue
            if number % 3 == 0:
                tables.put_item(TableName="Events", Item={**key, "v": value})
            elif number % 3 == 1:
                tables.update_item(
                    TableName="Events",
                    Key=key,
                    UpdateExpression="SET v = :v",
                    ExpressionAttributeValues={":v": value},
                )
            else:
                tables.transact_write_items(
                    TransactItems=[{"Put": {"TableName": "Events", "Item": {**key, "v": value}}}]
                )
            written.setdefault(name, []).append(round_number)
        round_number += 1
        time.sleep(0.05)


def list_shards(arn):
    shards, start = {}, {}
    while True:
        page = streams.describe_stream(StreamArn=arn, Limit=3, **start)["StreamDescription"]
        shards.update({shard["ShardId"]: shard for shard in page["Shards"]})
        if "LastEvaluatedShardId" not in page:
            return shards
        start = {"ExclusiveStartShardId": page["LastEvaluatedShardId"]}


def again(call):
    """Waits out what boto3 does not wait out."""
    for attempt in range(40):
        try:
            return call()
        except Exception as error:
            last = error
            time.sleep(0.05 * min(attempt, 10))
    raise last


def read_shard(arn, shard, closed, read):
    """Reads from the oldest record to the end, or, where there is none yet, until nothing has come for a while."""
    kind, after, quiet = "TRIM_HORIZON", {}, 0
    iterator = None
    while True:
        try:
            if iterator is None:
                iterator = streams.get_shard_iterator(
                    StreamArn=arn, ShardId=shard, ShardIteratorType=kind, **after
                )["ShardIterator"]
            page = streams.get_records(ShardIterator=iterator)
        except Exception:
            iterator = None
            time.sleep(0.05)
            continue
        for record in page["Records"]:
            body = record["dynamodb"]
            image = body.get("NewImage")
            read.setdefault(body["Keys"]["Id"]["S"], []).append(int(image["v"]["N"]) if image else None)
            kind, after = "AFTER_SEQUENCE_NUMBER", {"SequenceNumber": body["SequenceNumber"]}
        iterator = page.get("NextShardIterator")
        if iterator is None:
            return
        quiet = 0 if page["Records"] else quiet + 1
        if not closed and quiet > QUIET_PAGES:
            return
        time.sleep(0.01)


def main():
    arn = again(make_table)
    written, read = {}, {}
    write(written)
    time.sleep(2)
    # Shards that are made from now on have no records.
    shards = again(lambda: list_shards(arn))
    depth, todo = {}, dict(shards)
    while todo:
        for shard_id in [one for one, shard in todo.items() if shard.get("ParentShardId") not in todo]:
            shard = todo.pop(shard_id)
            depth[shard_id] = 1 + depth.get(shard.get("ParentShardId"), 0)
            read_shard(arn, shard_id, "EndingSequenceNumber" in shard["SequenceNumberRange"], read)
    print(json.dumps({"written": written, "read": read, "generations": max(depth.values()), "shards": len(shards)}))


main()
