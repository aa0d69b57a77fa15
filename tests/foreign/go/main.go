// A plain consumer with the AWS SDK for Go: every shard after its parent, one goroutine each. Prints "ID VERSION" for each change,
// until it is stopped. foreign ENDPOINT TABLE
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

var (
	printing sync.Mutex
	out      = bufio.NewWriter(os.Stdout)
)

type reader struct {
	streams *dynamodbstreams.Client
	arn     string
}

func main() {
	ctx := context.Background()
	settings, err := config.LoadDefaultConfig(ctx, config.WithRegion("us-east-1"), config.WithBaseEndpoint(os.Args[1]))
	exitOn(err)
	table, err := dynamodb.NewFromConfig(settings).DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &os.Args[2]})
	exitOn(err)
	reader := reader{dynamodbstreams.NewFromConfig(settings), *table.Table.LatestStreamArn}
	// Closed when the shard was read to its end.
	ends := map[string]chan struct{}{}
	for ; ; time.Sleep(time.Second) {
		listed, err := reader.list(ctx)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			continue
		}
		var fresh []types.Shard
		for _, shard := range listed {
			if ends[*shard.ShardId] == nil {
				ends[*shard.ShardId] = make(chan struct{})
				fresh = append(fresh, shard)
			}
		}
		for _, shard := range fresh {
			// A parent that is not listed has been trimmed.
			go reader.read(ctx, *shard.ShardId, ends[aws.ToString(shard.ParentShardId)], ends[*shard.ShardId])
		}
	}
}

func (r reader) list(ctx context.Context) (listed []types.Shard, err error) {
	var start *string
	for {
		page, err := r.streams.DescribeStream(ctx, &dynamodbstreams.DescribeStreamInput{StreamArn: &r.arn, ExclusiveStartShardId: start})
		if err != nil {
			return nil, err
		}
		listed = append(listed, page.StreamDescription.Shards...)
		if start = page.StreamDescription.LastEvaluatedShardId; start == nil {
			return listed, nil
		}
	}
}

func (r reader) read(ctx context.Context, shard string, parent, end chan struct{}) {
	defer close(end)
	if parent != nil {
		<-parent
	}
	var iterator, last *string
	for {
		if iterator == nil {
			request := &dynamodbstreams.GetShardIteratorInput{
				StreamArn: &r.arn, ShardId: &shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon,
			}
			if last != nil {
				request.ShardIteratorType, request.SequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, last
			}
			answer, err := r.streams.GetShardIterator(ctx, request)
			if err != nil {
				wait(err)
				continue
			}
			iterator = answer.ShardIterator
		}
		page, err := r.streams.GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: iterator})
		if err != nil {
			// Whatever it was: the next one begins where this one was.
			wait(err)
			iterator = nil
			continue
		}
		print(page.Records)
		if count := len(page.Records); count > 0 {
			last = page.Records[count-1].Dynamodb.SequenceNumber
		} else {
			time.Sleep(200 * time.Millisecond)
		}
		if iterator = page.NextShardIterator; iterator == nil {
			return
		}
	}
}

func print(records []types.Record) {
	printing.Lock()
	defer printing.Unlock()
	for _, record := range records {
		image := record.Dynamodb.NewImage
		id, version := image["Id"].(*types.AttributeValueMemberS), image["v"].(*types.AttributeValueMemberN)
		fmt.Fprintln(out, id.Value, version.Value)
	}
	out.Flush()
}

func wait(err error) {
	fmt.Fprintln(os.Stderr, err)
	time.Sleep(200 * time.Millisecond)
}

func exitOn(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
