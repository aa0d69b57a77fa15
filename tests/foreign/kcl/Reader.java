// The Kinesis Client Library over the adapter for DynamoDB Streams, its lease table on the same endpoint. Prints "ID VERSION" for
// each change, until it is stopped. Run from the source: java -cp 'libs/*' Reader.java ENDPOINT TABLE

import com.amazonaws.services.dynamodbv2.streamsadapter.AmazonDynamoDBStreamsAdapterClient;
import com.amazonaws.services.dynamodbv2.streamsadapter.StreamsSchedulerFactory;
import com.amazonaws.services.dynamodbv2.streamsadapter.model.DynamoDBStreamsProcessRecordsInput;
import com.amazonaws.services.dynamodbv2.streamsadapter.polling.DynamoDBStreamsPollingConfig;
import com.amazonaws.services.dynamodbv2.streamsadapter.processor.DynamoDBStreamsShardRecordProcessor;
import java.net.URI;
import java.util.Map;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.dynamodb.model.AttributeValue;
import software.amazon.awssdk.services.dynamodb.streams.DynamoDbStreamsClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;

public class Reader {
    /** Prints what comes, then says how far it is. */
    static class Printer implements DynamoDBStreamsShardRecordProcessor {
        @Override
        public void initialize(InitializationInput input) {}

        @Override
        public void processRecords(DynamoDBStreamsProcessRecordsInput input) {
            StringBuilder lines = new StringBuilder();
            for (var record : input.records()) {
                Map<String, AttributeValue> item = record.getRecord().dynamodb().newImage();
                lines.append(item.get("Id").s()).append(' ').append(item.get("v").n()).append('\n');
            }
            synchronized (System.out) {
                System.out.print(lines);
                System.out.flush();
            }
            checkpoint(() -> input.checkpointer().checkpoint());
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            checkpoint(() -> input.checkpointer().checkpoint());
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            System.err.println("lost a lease");
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            checkpoint(() -> input.checkpointer().checkpoint());
        }

        interface Call {
            void run() throws Exception;
        }

        static void checkpoint(Call call) {
            try {
                call.run();
            } catch (Exception failed) {
                throw new RuntimeException(failed);
            }
        }
    }

    public static void main(String[] arguments) {
        URI endpoint = URI.create(arguments[0]);
        Region region = Region.US_EAST_1;
        DynamoDbAsyncClient tables = DynamoDbAsyncClient.builder().endpointOverride(endpoint).region(region).build();
        DynamoDbStreamsClient streams = DynamoDbStreamsClient.builder().endpointOverride(endpoint).region(region).build();
        AmazonDynamoDBStreamsAdapterClient adapter = new AmazonDynamoDBStreamsAdapterClient(streams, region);
        // Asked for by a constructor and never called: there are no metrics.
        CloudWatchAsyncClient metrics = CloudWatchAsyncClient.builder().endpointOverride(endpoint).region(region).build();
        String stream = tables.describeTable(request -> request.tableName(arguments[1])).join().table().latestStreamArn();
        var start = InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
        var tracker = StreamsSchedulerFactory.createSingleStreamTracker(stream, start);
        ConfigsBuilder configs =
                new ConfigsBuilder(tracker, "foreign-kcl", adapter, tables, metrics, "worker", Printer::new);
        // As it comes, but for waits that are made for shards of four hours.
        var coordinator = configs.coordinatorConfig().parentShardPollIntervalMillis(1000);
        var leases = configs.leaseManagementConfig().shardSyncIntervalMillis(1000).failoverTimeMillis(3000);
        leases.leasesRecoveryAuditorExecutionFrequencyMillis(3000).initialPositionInStream(start);
        var polling = new DynamoDBStreamsPollingConfig(stream, adapter).idleTimeBetweenReadsInMillis(500);
        Scheduler scheduler = StreamsSchedulerFactory.createScheduler(
                configs.checkpointConfig(), coordinator, leases, configs.lifecycleConfig(),
                configs.metricsConfig().metricsFactory(new NullMetricsFactory()), configs.processorConfig(),
                configs.retrievalConfig().retrievalSpecificConfig(polling), adapter);
        scheduler.run();
    }
}
