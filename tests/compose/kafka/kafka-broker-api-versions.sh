#!/bin/sh
# shellcheck disable=SC2086 # several options in one variable
exec java ${KAFKA_HEAP_OPTS-} -Dlog4j2.configurationFile=/etc/kafka/docker/tools-log4j2.yaml -cp '/opt/kafka/libs/*' \
    org.apache.kafka.tools.BrokerApiVersionsCommand "$@"
