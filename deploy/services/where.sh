# Sourced: where installed services are, of the versions the tests were written against.
cache=${ROOKERY_SERVICES:-${XDG_CACHE_HOME:-$HOME/.cache}/rookery/services}
kafka_home=$cache/kafka-4.3.1
mongodb_home=$cache/mongodb-1.47.0
s3_version=1.7.0
s3_home=$cache/s3-$s3_version

# What every JVM here is started with: these servers live for minutes, so that starting is most of their work.
jvm=(java -Xms64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true)
