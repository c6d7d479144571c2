//! The topic: made where it is missing, else held to what the configuration promises.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rookery_actors::ports::{PortError, PortResult};

use super::client::{Health, MEET_AGAIN, Quiet};
use super::offsets::Consumer;
use super::{Settings, client};

/// One attempt to reach a broker.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Between attempts that may fail at once.
pub const PAUSE: Duration = Duration::from_millis(100);

/// By whose clock records are dated: by the brokers'. They refuse what a node dates more than an hour ahead, and retention would
/// delete at once what one dates long ago.
const TIMESTAMPS: &str = "LogAppendTime";

/// What a topic is, as far as it matters here.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Shape {
    partitions: usize,
    replicas: usize,
    /// Every partition has a leader.
    led: bool,
}

/// The settings of a topic that bear on what is promised.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Policy {
    cleanup: String,
    min_insync: u16,
    retention_ms: i64,
    timestamps: String,
}

impl Policy {
    fn dates_by_brokers(&self) -> bool {
        // A broker that does not tell is one that has no such setting.
        self.timestamps.is_empty() || self.timestamps == TIMESTAMPS
    }
}

/// Makes or checks the topic; returns when all its partitions have leaders. Within `patience`.
pub async fn ready(
    consumer: &Consumer,
    settings: &Settings,
    health: &Health,
    shards: u16,
    patience: Duration,
) -> PortResult<()> {
    let deadline = Instant::now() + patience;
    let admin = admin(settings)?;
    let mut made = false;
    loop {
        match look(consumer, settings, health, deadline).await? {
            Some(shape) if shape.led => {
                check_shape(&shape, settings, shards)?;
                break;
            }
            None if !made => match make(&admin, settings, shards).await {
                // Brokers that are starting, too, are fewer than they will be.
                Err(PortError::Unavailable(_)) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                outcome => made = outcome.map(|()| true)?,
            },
            _ if Instant::now() >= deadline => {
                let topic = &settings.topic;
                return Err(PortError::Unavailable(format!(
                    "kafka: not every partition of topic {topic} has a leader; see `kafka-topics --describe`"
                )));
            }
            _ => tokio::time::sleep(PAUSE).await,
        }
    }
    loop {
        match policy(&admin, settings).await {
            Ok(policy) => return check_policy(&policy, settings),
            Err(PortError::Unavailable(_)) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

fn admin(settings: &Settings) -> PortResult<AdminClient<DefaultClientContext>> {
    let mut config: ClientConfig = client::producer(settings)?;
    for key in ["enable.idempotence", "acks", "message.timeout.ms"] {
        config.remove(key);
    }
    config
        .create()
        .map_err(|error| PortError::Broken(format!("kafka: {error}")))
}

/// The topic as the brokers see it; `None` when there is none. Asks until one answers or the time is over.
async fn look(
    consumer: &Consumer,
    settings: &Settings,
    health: &Health,
    deadline: Instant,
) -> PortResult<Option<Shape>> {
    let mut met = Instant::now();
    loop {
        let topic = settings.topic.clone();
        let answer = consumer
            .blocking(move |consumer| {
                let metadata = consumer.client().fetch_metadata(Some(&topic), ATTEMPT);
                let metadata = metadata.inspect_err(|_| hear_why(consumer))?;
                let found = metadata.topics().iter().find(|found| found.name() == topic);
                Ok(found.filter(|found| found.error().is_none()).map(shape))
            })
            .await;
        let error = match answer {
            Ok(shape) => return Ok(shape),
            Err(error) => no_answer(settings, health.complaint(), &error),
        };
        match error {
            PortError::Unavailable(_) if Instant::now() < deadline => {}
            error => return Err(error),
        }
        if met.elapsed() >= MEET_AGAIN {
            met = Instant::now();
            consumer.meet_again();
        }
    }
}

/// Lets the client tell `Health` what became of its connections, which it does to who polls, for the length of a pause: nothing
/// says that it has told all, as a poll that meets a line of its log answers like one that meets nothing.
fn hear_why(consumer: &BaseConsumer<Quiet>) {
    let until = Instant::now() + PAUSE;
    while let Some(left) = until
        .checked_duration_since(Instant::now())
        .filter(|left| !left.is_zero())
    {
        drop(consumer.poll(left));
    }
}

/// What the library says of a connection, with our settings' names in place of its own, and without its advice on certificates, and
/// how long and how often it tried.
fn in_our_words(reason: &str) -> String {
    let ends = [": broker certificate could not", " (after "].map(|end| reason.find(end).unwrap_or(reason.len()));
    reason[..ends[0].min(ends[1])]
        .replace("ssl.key.location", "kafka.ssl_key_file")
        .replace("ssl.certificate.location", "kafka.ssl_certificate_file")
        .replace('\n', " ")
}

/// Why no broker answers, and what to do; unavailable if waiting may do.
fn no_answer(settings: &Settings, complaint: Option<(RDKafkaErrorCode, String)>, error: &KafkaError) -> PortError {
    let brokers = &settings.brokers;
    let (code, why) = match &complaint {
        Some((code, why)) => (Some(*code), in_our_words(why)),
        None => (None, error.to_string()),
    };
    match code {
        Some(RDKafkaErrorCode::Authentication) => PortError::Broken(format!(
            "kafka: the brokers at {brokers} do not let this node in ({why}); correct kafka.sasl_mechanism, \
             kafka.sasl_username and kafka.sasl_password"
        )),
        Some(RDKafkaErrorCode::SSL) if why.contains("certificate verify failed") => PortError::Broken(format!(
            "kafka: the brokers at {brokers} are not trusted ({why}); name who signed their certificate in \
             kafka.ssl_ca_file, and in kafka.brokers names that stand in it"
        )),
        // Said after the handshake, if it is not lost when they hang up.
        _ if why.contains(" alert ") && why.contains("certificate") => PortError::Broken(format!(
            "kafka: the brokers at {brokers} want a certificate that they trust ({why}); name it in \
             kafka.ssl_certificate_file, and its key in kafka.ssl_key_file"
        )),
        _ => {
            let certificate = match settings.security_protocol.ends_with("ssl") {
                true => "; they may want another kafka.ssl_certificate_file",
                false => "",
            };
            PortError::Unavailable(format!(
                "kafka: no broker at {brokers} answers ({why}); check that they run, that kafka.brokers names them, and \
                 that kafka.security_protocol is theirs{certificate}"
            ))
        }
    }
}

fn shape(topic: &MetadataTopic) -> Shape {
    let partitions = topic.partitions();
    let led = |it: &rdkafka::metadata::MetadataPartition| it.leader() >= 0 && it.error().is_none();
    Shape {
        partitions: partitions.len(),
        replicas: partitions.iter().map(|it| it.replicas().len()).min().unwrap_or(0),
        led: !partitions.is_empty() && partitions.iter().all(led),
    }
}

fn check_shape(shape: &Shape, settings: &Settings, shards: u16) -> PortResult<()> {
    let topic = &settings.topic;
    if shape.partitions != usize::from(shards) {
        return Err(PortError::Broken(format!(
            "kafka: topic {topic} has {} partitions, and this cluster {shards} shards, which must be the same for ever; \
             name another topic or set the number of shards it was made with",
            shape.partitions
        )));
    }
    if shape.replicas < usize::from(settings.replication_factor) {
        return Err(PortError::Broken(format!(
            "kafka: topic {topic} keeps {} copies of a record, and kafka.replication_factor asks for {}",
            shape.replicas, settings.replication_factor
        )));
    }
    Ok(())
}

async fn make(admin: &AdminClient<DefaultClientContext>, settings: &Settings, shards: u16) -> PortResult<()> {
    let (min_insync, retention) = (
        settings.min_insync_replicas.to_string(),
        settings.retention_ms().to_string(),
    );
    let replicas = TopicReplication::Fixed(settings.replication_factor.into());
    let topic = NewTopic::new(&settings.topic, shards.into(), replicas)
        .set("cleanup.policy", "delete")
        .set("min.insync.replicas", &min_insync)
        .set("retention.ms", &retention)
        .set("message.timestamp.type", TIMESTAMPS)
        .set("unclean.leader.election.enable", "false");
    let failed = |what: String| {
        format!(
            "kafka: make topic {} with {shards} partitions and {} copies: {what}",
            settings.topic, settings.replication_factor
        )
    };
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let outcome = admin.create_topics([&topic], &options).await;
    match outcome
        .map_err(|error| PortError::Unavailable(failed(error.to_string())))?
        .pop()
    {
        // Another node was first; what it made is looked at next.
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((_, RDKafkaErrorCode::InvalidReplicationFactor))) => Err(PortError::Unavailable(failed(
            "there are fewer brokers than that; set kafka.replication_factor and kafka.min_insync_replicas".into(),
        ))),
        Some(Err((_, code))) => Err(PortError::Broken(failed(code.to_string()))),
        _ => {
            tracing::info!(
                topic = settings.topic,
                partitions = shards,
                "made the topic of the event log"
            );
            Ok(())
        }
    }
}

async fn policy(admin: &AdminClient<DefaultClientContext>, settings: &Settings) -> PortResult<Policy> {
    let failed = |error: String| {
        PortError::Unavailable(format!(
            "kafka: ask for the settings of topic {}: {error}",
            settings.topic
        ))
    };
    let options = AdminOptions::new().request_timeout(Some(Duration::from_secs(5)));
    let which = ResourceSpecifier::Topic(&settings.topic);
    let answer = admin.describe_configs([&which], &options).await;
    let answer = answer.map_err(|error: KafkaError| failed(error.to_string()))?;
    let resource = answer.into_iter().next().ok_or_else(|| failed("no answer".into()))?;
    let resource = resource.map_err(|code| failed(code.to_string()))?;
    let value = |name: &str| {
        resource
            .get(name)
            .and_then(|entry| entry.value.clone())
            .unwrap_or_default()
    };
    let cleanup = value("cleanup.policy");
    if cleanup.is_empty() {
        return Err(failed("the broker that was asked does not know the topic yet".into()));
    }
    Ok(Policy {
        cleanup,
        min_insync: value("min.insync.replicas").parse().unwrap_or(0),
        retention_ms: value("retention.ms").parse().unwrap_or(0),
        timestamps: value("message.timestamp.type"),
    })
}

fn check_policy(policy: &Policy, settings: &Settings) -> PortResult<()> {
    let topic = &settings.topic;
    if policy.cleanup != "delete" {
        return Err(PortError::Broken(format!(
            "kafka: topic {topic} has cleanup.policy={}, under which records vanish from the middle; it must be `delete`",
            policy.cleanup
        )));
    }
    if policy.min_insync < settings.min_insync_replicas {
        return Err(PortError::Broken(format!(
            "kafka: topic {topic} has min.insync.replicas={}, and kafka.min_insync_replicas asks for {}",
            policy.min_insync, settings.min_insync_replicas
        )));
    }
    let (has, wants) = (policy.retention_ms, settings.retention_ms());
    if has != wants {
        tracing::warn!(
            topic = settings.topic,
            has,
            wants,
            "the topic's retention.ms is not what kafka.retention_hours says; the topic's counts"
        );
    }
    if !policy.dates_by_brokers() {
        tracing::warn!(
            topic = settings.topic,
            "the topic's records bear the times of the nodes' clocks, and one that is wrong may lose what it writes; set \
             message.timestamp.type={TIMESTAMPS} for the topic"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(outcome: PortResult<()>, words: &str) {
        let error = outcome.expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn a_topic_that_breaks_a_promise_is_refused() {
        let settings = Settings::default();
        let shape = |partitions, replicas| Shape {
            partitions,
            replicas,
            led: true,
        };
        assert!(check_shape(&shape(256, 3), &settings, 256).is_ok());
        refused(check_shape(&shape(12, 3), &settings, 256), "12 partitions");
        refused(check_shape(&shape(256, 2), &settings, 256), "2 copies");
    }

    #[test]
    fn a_topic_that_forgets_is_refused_and_another_retention_is_not() {
        let settings = Settings::default();
        let policy = |cleanup: &str, min_insync| Policy {
            cleanup: cleanup.into(),
            min_insync,
            retention_ms: 1,
            timestamps: "CreateTime".into(),
        };
        assert!(check_policy(&policy("delete", 2), &settings).is_ok());
        refused(check_policy(&policy("compact", 2), &settings), "cleanup.policy=compact");
        refused(check_policy(&policy("delete", 1), &settings), "min.insync.replicas=1");
        assert!(
            !policy("delete", 2).dates_by_brokers(),
            "which is said, and is no reason not to start"
        );
    }
}
