#!/bin/sh
# DynamoDBLocal.jar as the download has it: its manifest names the jars of DynamoDBLocal_lib. Maven's copies have other
# file names than the manifest of Maven's DynamoDBLocal.jar expects.
set -eu
mkdir META-INF
{
    echo 'Manifest-Version: 1.0'
    echo 'Main-Class: software.amazon.dynamodb.services.local.main.ServerRunner'
    # A manifest's lines are short; what goes on begins with a space.
    echo 'Class-Path: .'
    for jar in DynamoDBLocal_lib/*.jar; do
        echo "$jar" | fold --width=70 | sed '1s/^/  /; 2,$s/^/ /'
    done
} >META-INF/MANIFEST.MF
zip --quiet DynamoDBLocal.jar META-INF/MANIFEST.MF
rm -r META-INF
