"""A plain consumer in boto3: every shard after its parent. Prints "ID VERSION" for each change, until it is stopped.

reader.py ENDPOINT TABLE
"""

import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

ENDPOINT, TABLE = sys.argv[1:3]
CONFIG = Config(region_name="us-east-1", retries={"max_attempts": 5, "mode": "standard"})
tables = boto3.client("dynamodb", endpoint_url=ENDPOINT, config=CONFIG)
streams = boto3.client("dynamodbstreams", endpoint_url=ENDPOINT, config=CONFIG)


class Shard:
    def __init__(self, listed):
        self.parent = listed.get("ParentShardId")
        self.iterator, self.last, self.ended = None, None, False

    def read(self, arn, shard_id):
        """One page. Whether there was something on it."""
        if self.iterator is None:
            after = {"ShardIteratorType": "TRIM_HORIZON"}
            if self.last:
                after = {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": self.last}
            self.iterator = streams.get_shard_iterator(StreamArn=arn, ShardId=shard_id, **after)["ShardIterator"]
        try:
            page = streams.get_records(ShardIterator=self.iterator)
            # Of an answer that broke off, boto3 makes one without fields.
            records = page["Records"]
        except Exception:
            # Whatever it was: the next one begins where this one was.
            self.iterator = None
            raise
        for record in records:
            image = record["dynamodb"]["NewImage"]
            print(image["Id"]["S"], image["v"]["N"])
            self.last = record["dynamodb"]["SequenceNumber"]
        sys.stdout.flush()
        self.iterator = page.get("NextShardIterator")
        self.ended = self.iterator is None
        return bool(records)


def list_shards(arn):
    listed, start = [], {}
    while True:
        page = streams.describe_stream(StreamArn=arn, **start)["StreamDescription"]
        listed += page["Shards"]
        if "LastEvaluatedShardId" not in page:
            return listed
        start = {"ExclusiveStartShardId": page["LastEvaluatedShardId"]}


def patient(call, otherwise):
    try:
        return call()
    except (ClientError, BotoCoreError, KeyError) as error:
        print(repr(error), file=sys.stderr)
        return otherwise


def main():
    arn = None
    while arn is None:
        arn = patient(lambda: tables.describe_table(TableName=TABLE)["Table"]["LatestStreamArn"], None)
    shards, listed_at = {}, 0.0
    while True:
        if time.monotonic() - listed_at > 1:
            listed_at = time.monotonic()
            for listed in patient(lambda: list_shards(arn), []):
                shards.setdefault(listed["ShardId"], Shard(listed))
        # A parent that is not listed has been trimmed.
        done = lambda shard: shard.parent not in shards or shards[shard.parent].ended
        ready = [(shard_id, shard) for shard_id, shard in shards.items() if not shard.ended and done(shard)]
        busy = [patient(lambda: shard.read(arn, shard_id), False) for shard_id, shard in ready]
        if not any(busy):
            time.sleep(0.2)


main()
