"""The loop that most people write first: every shard of a stream from its beginning, in order, with boto3.

Usage: loop.py TABLE null | kafka BROKERS TOPIC | postgres URL RELATION
Endpoint, region and credentials come from the environment. Ends when every shard is read to its end, and prints how many
records it handed over.
"""

import json
import sys

import boto3
from boto3.dynamodb.types import TypeDeserializer

DESERIALIZER = TypeDeserializer()
# Rows of one statement and one transaction.
POSTGRES_ROWS = 1000


def plain(image):
    """An image as an ordinary dictionary; numbers as text, because a float would lose digits."""
    return {name: DESERIALIZER.deserialize(value) for name, value in image.items()}


def to_null():
    def hand_over(records):
        pass

    return hand_over, lambda: None


def to_kafka(brokers, topic):
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": brokers, "enable.idempotence": True})

    def refused(error, _message):
        if error is not None:
            raise RuntimeError(error)

    def hand_over(records):
        for record in records:
            change = record["dynamodb"]
            event = {
                "change": record["eventName"],
                "key": plain(change["Keys"]),
                "new": plain(change["NewImage"]) if "NewImage" in change else None,
                "old": plain(change["OldImage"]) if "OldImage" in change else None,
                "sequence_number": change["SequenceNumber"],
            }
            key = json.dumps(event["key"], default=str)
            value = json.dumps(event, default=str)
            while True:
                try:
                    producer.produce(topic, key=key, value=value, on_delivery=refused)
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
        # The page is done when the broker has it: otherwise a kept position would skip what was lost.
        producer.flush()

    return hand_over, producer.flush


def to_postgres(url, relation):
    import psycopg

    connection = psycopg.connect(url)
    cursor = connection.cursor()
    cursor.execute(f"create table if not exists {relation} (id text primary key, document jsonb)")
    connection.commit()
    upsert = f"""insert into {relation} (id, document) values (%s, %s)
        on conflict (id) do update set document = excluded.document"""

    def hand_over(records):
        rows = []
        for record in records:
            change = record["dynamodb"]
            key = json.dumps(plain(change["Keys"]), default=str)
            rows.append((key, json.dumps(plain(change.get("NewImage") or change["Keys"]), default=str)))
        for first in range(0, len(rows), POSTGRES_ROWS):
            cursor.executemany(upsert, rows[first : first + POSTGRES_ROWS])
            connection.commit()

    return hand_over, connection.close


def shards(client, arn):
    """All shards, page by page; the oldest first, so that parents come before their children."""
    listed, after = [], {}
    while True:
        description = client.describe_stream(StreamArn=arn, **after)["StreamDescription"]
        listed += description["Shards"]
        if "LastEvaluatedShardId" not in description:
            return listed
        after = {"ExclusiveStartShardId": description["LastEvaluatedShardId"]}


def main(table, kind, *place):
    hand_over, close = {"null": to_null, "kafka": to_kafka, "postgres": to_postgres}[kind](*place)
    client = boto3.client("dynamodbstreams")
    arn = client.list_streams(TableName=table)["Streams"][0]["StreamArn"]
    count = 0
    for shard in shards(client, arn):
        iterator = client.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while iterator:
            page = client.get_records(ShardIterator=iterator, Limit=1000)
            hand_over(page["Records"])
            count += len(page["Records"])
            iterator = page.get("NextShardIterator")
    close()
    print(f"records {count}")


if __name__ == "__main__":
    main(*sys.argv[1:])
