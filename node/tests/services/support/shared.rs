//! Where the shared services are, and names that no other test uses.

use rookery_cluster::testkit::deadline;

/// `host:port` of the shared Kafka broker.
pub fn kafka() -> String {
    shared("ROOKERY_TEST_KAFKA")
}

/// `mongodb://...` of the shared server of MongoDB's protocol.
pub fn mongodb() -> String {
    shared("ROOKERY_TEST_MONGODB")
}

/// `redis://...` of the shared Redis.
pub fn redis() -> String {
    shared("ROOKERY_TEST_REDIS")
}

/// `http://...` of the shared S3 server, which takes [`S3_KEYS`] and has no bucket that a test did not make.
pub fn s3() -> String {
    shared("ROOKERY_TEST_S3")
}

/// Access key and secret key of every S3 server that `deploy/services` starts.
pub const S3_KEYS: (&str, &str) = ("rkaccess", "rksecret");

/// A name for a topic, a database, a key prefix or a bucket that nothing else has: lower case, begins with a letter.
pub fn fresh(what: &str) -> String {
    deadline::of_this_test();
    format!("{what}-{}", uuid::Uuid::now_v7().simple())
}

fn shared(variable: &str) -> String {
    deadline::of_this_test();
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run `make test-cluster`, or `deploy/services/up` and source what it prints")
    })
}
