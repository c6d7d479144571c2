//! The services of a cluster: Kafka, MongoDB, Redis and S3, started for it by the repository's scripts, or running already.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use anyhow::{Context, bail, ensure};

use crate::sys::{harden, signal};

/// What a service is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Kind {
    Kafka,
    Mongodb,
    Redis,
    S3,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Kafka, Self::Mongodb, Self::Redis, Self::S3];

    /// As the scripts call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Mongodb => "mongodb",
            Self::Redis => "redis",
            Self::S3 => "s3",
        }
    }
}

/// The variable in which the scripts tell where a service is, or, for `SERVICES`, where all of them keep their files.
fn variable(what: &str) -> String {
    format!("ROOKERY_TEST_{}", what.to_uppercase())
}

/// Where the services are.
pub struct Services {
    addresses: BTreeMap<Kind, String>,
    /// Where they keep their files and pids: none for services of somebody's that are only known by address.
    directory: Option<PathBuf>,
    /// Where the scripts are, where they were found.
    scripts: Option<PathBuf>,
    /// Ends what was started here.
    guardian: Option<Guardian>,
}

impl Services {
    /// Those that are told of, by an option or by the environment; where none are, they are started, with their files in a
    /// directory on that ground.
    pub fn find_or_start(told: Option<&Path>, ground: &Path) -> anyhow::Result<Self> {
        let scripts = told.filter(|path| path.join("up").is_file()).map(Path::to_path_buf);
        let known = match told.filter(|_| scripts.is_none()) {
            Some(directory) if directory.is_dir() => in_directory(directory)?,
            Some(file) => variables(
                &fs::read_to_string(file)
                    .with_context(|| format!("reading where services are from {}", file.display()))?,
            ),
            None => std::env::vars().collect(),
        };
        let scripts = scripts.or_else(find_scripts);
        match Self::known(&known)? {
            Some(services) => Ok(Self { scripts, ..services }),
            None if told.is_some_and(|path| !path.join("up").is_file()) => bail!("no services are named there"),
            None => {
                let scripts = scripts.context(
                    "no deploy/services/up was found from here upward: name its directory, or running services, by --services",
                )?;
                Self::start(&scripts, ground)
            }
        }
    }

    fn known(variables: &BTreeMap<String, String>) -> anyhow::Result<Option<Self>> {
        let address = |kind: Kind| Some((kind, variables.get(&variable(kind.name()))?.clone()));
        let addresses: BTreeMap<Kind, String> = Kind::ALL.into_iter().filter_map(address).collect();
        if addresses.is_empty() {
            return Ok(None);
        }
        let missing = Kind::ALL.into_iter().find(|kind| !addresses.contains_key(kind));
        ensure!(
            missing.is_none(),
            "of the services, {} is not named: set {}",
            missing.map_or("", Kind::name),
            variable(missing.map_or("", Kind::name))
        );
        Ok(Some(Self {
            addresses,
            directory: variables.get(&variable("services")).map(PathBuf::from),
            scripts: None,
            guardian: None,
        }))
    }

    /// Starts one of each in a directory of its own.
    fn start(scripts: &Path, ground: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("services-").tempdir_in(ground)?;
        let guardian = Guardian::over(scripts, directory.path())?;
        // From here on it is the guardian that removes it.
        let directory = directory.keep();
        let mut up = Command::new(scripts.join("up"));
        up.arg(&directory).stdin(Stdio::null());
        harden(&mut up, None);
        let output = up.output().context("starting deploy/services/up")?;
        ensure!(
            output.status.success(),
            "the services did not start:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let known = variables(&String::from_utf8_lossy(&output.stdout));
        let services = Self::known(&known)?;
        let services = services.context("deploy/services/up did not say where the services are")?;
        Ok(Self {
            scripts: Some(scripts.to_path_buf()),
            guardian: Some(guardian),
            ..services
        })
    }

    pub fn address(&self, kind: Kind) -> &str {
        self.addresses.get(&kind).map_or("", String::as_str)
    }

    /// The process of a service, where it is one of this machine that the scripts started.
    pub fn pid(&self, kind: Kind) -> Option<u32> {
        let file = self.directory.as_ref()?.join(kind.name()).join("pid");
        fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    /// They were started here, for this run alone.
    pub fn are_ours(&self) -> bool {
        self.guardian.is_some()
    }

    /// Whether a service can be ended and started again from here.
    pub fn can_break(&self, kind: Kind) -> bool {
        self.scripts.is_some() && self.pid(kind).is_some()
    }

    /// Sends a signal to the process of a service.
    pub fn signal(&self, kind: Kind, what: i32) -> anyhow::Result<()> {
        let pid = self
            .pid(kind)
            .with_context(|| format!("the process of {} is not known", kind.name()))?;
        signal(pid, what).with_context(|| format!("signalling {}", kind.name()))
    }

    /// Starts a service that has ended on what it has stored: a script, which ends when the service answers.
    pub fn begin_again(&self, kind: Kind) -> anyhow::Result<Child> {
        let (Some(scripts), Some(directory)) = (&self.scripts, &self.directory) else {
            bail!("{} was not started from here", kind.name());
        };
        let mut start = Command::new(scripts.join("start"));
        start.arg(kind.name()).arg(directory.join(kind.name()));
        start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        harden(&mut start, None);
        start.spawn().context("starting deploy/services/start")
    }

    /// Makes a bucket where the S3 server keeps its objects as files; where it doesn't, the bucket must be there. One object
    /// stays under the prefix: such a server takes empty directories away, under another node's first object too.
    pub fn make_bucket(&self, name: &str, prefix: &str) -> anyhow::Result<()> {
        let Some(objects) = self.directory.as_ref().map(|directory| directory.join("s3/objects")) else {
            return Ok(());
        };
        let place = objects.join(name).join(prefix);
        fs::create_dir_all(&place)
            .and_then(|()| fs::write(place.join("begun"), ""))
            .with_context(|| format!("making a bucket in {}", objects.display()))
    }

    /// Leaves files and logs of services started here behind.
    pub fn keep(&self) {
        if let (Some(_), Some(directory)) = (&self.guardian, &self.directory) {
            drop(fs::write(directory.join(KEPT), ""));
        }
    }
}

/// A file whose presence tells the guardian to leave the rest where it is.
const KEPT: &str = "kept";

/// A process that outlives this one by the time it takes to end the services: it waits for the end of its input, which comes
/// however this process ends.
struct Guardian {
    child: Child,
    life: Option<ChildStdin>,
}

impl Guardian {
    fn over(scripts: &Path, directory: &Path) -> anyhow::Result<Self> {
        let script = format!(r#"cat >/dev/null; "$0" "$1"; [ -e "$1/{KEPT}" ] || rm -rf "$1""#);
        let mut command = Command::new("sh");
        command.args(["-c", &script]).arg(scripts.join("down")).arg(directory);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().context("starting the guardian of the services")?;
        let life = child.stdin.take();
        Ok(Self { child, life })
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        drop(self.life.take());
        drop(self.child.wait());
    }
}

/// Reads what `up` prints: `export NAME=VALUE`, a line each.
fn variables(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(|line| line.strip_prefix("export ").unwrap_or(line));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs
        .map(|(name, value)| {
            (
                name.trim().to_owned(),
                value.trim().trim_matches(['"', '\'']).to_owned(),
            )
        })
        .collect()
}

/// The same from the directory in which services were started.
fn in_directory(directory: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let directory = directory.canonicalize()?;
    let mut text = format!("{}={}\n", variable("services"), directory.display());
    for kind in Kind::ALL {
        if let Ok(address) = fs::read_to_string(directory.join(kind.name()).join("address")) {
            writeln!(text, "{}={}", variable(kind.name()), address.trim())?;
        }
    }
    Ok(variables(&text))
}

/// `deploy/services` of the repository one stands in, or in which this program was built.
fn find_scripts() -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let start = here.iter().chain(&program);
    let mut above = start.flat_map(|path| path.ancestors().map(|path| path.join("deploy/services")));
    above.find(|path| path.join("up").is_file())
}

#[cfg(test)]
mod tests {
    use super::{Kind, Services, in_directory, variables};

    const PRINTED: &str = "export ROOKERY_TEST_SERVICES=/tmp/x\nexport ROOKERY_TEST_KAFKA=127.0.0.1:9\n\
                           export ROOKERY_TEST_MONGODB=mongodb://127.0.0.1:1\nexport ROOKERY_TEST_REDIS='redis://127.0.0.1:2'\n\
                           ROOKERY_TEST_S3=http://127.0.0.1:3\n";

    #[test]
    fn services_are_found_in_what_up_prints() {
        let services = Services::known(&variables(PRINTED)).unwrap().unwrap();
        assert_eq!(services.address(Kind::Kafka), "127.0.0.1:9");
        assert_eq!(services.address(Kind::Redis), "redis://127.0.0.1:2");
        assert_eq!(services.pid(Kind::S3), None);
    }

    #[test]
    fn services_half_told_of_are_an_error_and_none_are_none() {
        let half = variables("ROOKERY_TEST_KAFKA=127.0.0.1:9");
        let error = Services::known(&half).err().unwrap().to_string();
        assert!(error.contains("ROOKERY_TEST_MONGODB"), "{error}");
        assert!(Services::known(&variables("")).unwrap().is_none());
    }

    #[test]
    fn services_are_found_where_they_were_started() {
        let directory = tempfile::tempdir().unwrap();
        for kind in Kind::ALL {
            let own = directory.path().join(kind.name());
            std::fs::create_dir(&own).unwrap();
            std::fs::write(own.join("address"), "somewhere\n").unwrap();
            std::fs::write(own.join("pid"), "4711\n").unwrap();
        }
        let known = in_directory(directory.path()).unwrap();
        let services = Services::known(&known).unwrap().unwrap();
        assert_eq!(
            (services.address(Kind::S3), services.pid(Kind::Kafka)),
            ("somewhere", Some(4711))
        );
        services.make_bucket("rookery", "a").unwrap();
        assert!(directory.path().join("s3/objects/rookery/a").is_dir());
    }
}
