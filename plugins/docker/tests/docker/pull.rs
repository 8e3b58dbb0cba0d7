//! Pulls, from a registry on the loopback interface of the engine's own network.

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use agentd_plugin_api::prelude::*;
use bollard::Docker;
use bollard::query_parameters::{
    BuildImageOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptionsBuilder,
    TagImageOptionsBuilder,
};
use futures_util::TryStreamExt;
use libtest_mimic::Trial;
use serde_json::json;
use tempfile::TempDir;

use crate::engine::{Engine, find};
use crate::network::{inside, namespace_of};
use crate::world::{Agent, World, shared_engine};
use crate::{image, trial};

pub fn trials(trials: &mut Vec<Trial>) {
    trial(trials, "pull::one_that_hangs", one_that_hangs);
    trial(trials, "pull::no_such_registry", no_such_registry);
    if find("docker-registry").is_some() || std::env::var_os("CI").is_some() {
        trial(trials, "pull::missing_image", missing_image);
        trial(trials, "pull::one_for_many", one_for_many);
        trial(trials, "pull::always", always);
        trial(trials, "pull::no_such_image", no_such_image);
    } else {
        eprintln!("some tests of pulls were left out: `apt-get install docker-registry`");
    }
}

/// Debian's registry in the engine's network, with an image in it.
struct Registry {
    engine: Arc<Engine>,
    address: String,
    process: Child,
    _directory: TempDir,
}

impl Registry {
    async fn start() -> Registry {
        let engine = shared_engine();
        let directory = tempfile::tempdir().expect("a directory");
        // Free until now, and nobody else is in this network but the other tests' registries.
        let port = inside(&namespace_of(&engine), || {
            TcpListener::bind("127.0.0.1:0").expect("a port")
        })
        .local_addr()
        .expect("its address")
        .port();
        let address = format!("127.0.0.1:{port}");
        let config = directory.path().join("config.yml");
        let storage = directory.path().join("storage");
        let settings = json!({
            "version": "0.1",
            "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": storage}},
            "http": {"addr": address},
        });
        fs::write(&config, settings.to_string()).expect("writing the settings");
        let registry = find("docker-registry").expect("`apt-get install docker-registry`");
        let mut command: Command = engine.command(&["setpriv", "--pdeathsig", "KILL"]);
        command
            .arg(registry)
            .arg("serve")
            .arg(&config)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = crate::engine::spawn(command);
        let registry = Registry {
            engine,
            address,
            process,
            _directory: directory,
        };
        let up = registry.address.clone();
        let network = namespace_of(&registry.engine);
        crate::engine::until("the registry", || {
            inside(&network, {
                let up = up.clone();
                move || TcpStream::connect(up).is_ok()
            })
        });
        registry
    }

    /// Puts an image with a layer of 16 MiB into the registry, and out of the engine.
    async fn offer(&self, docker: &Docker, name: &str) -> String {
        let image = format!("{}/{name}", self.address);
        let mut noise = vec![0; 16 << 20];
        fs::File::open("/dev/urandom")
            .and_then(|mut random| random.read_exact(&mut noise))
            .expect("noise");
        let dockerfile = format!("FROM {}\nCOPY noise /noise\n", image::PLAIN);
        let context = image::tar_of(&[("Dockerfile", dockerfile.as_bytes()), ("noise", &noise)]);
        let options = BuildImageOptionsBuilder::new().t(&image).build();
        let built = docker.build_image(options, None, Some(bollard::body_full(context.into())));
        built
            .try_collect::<Vec<_>>()
            .await
            .expect("building an image");
        let tag = TagImageOptionsBuilder::new()
            .repo(&image)
            .tag("latest")
            .build();
        docker.tag_image(&image, Some(tag)).await.expect("tagging");
        let push = PushImageOptionsBuilder::new().tag("latest").build();
        let pushed = docker.push_image(&image, Some(push), None);
        pushed.try_collect::<Vec<_>>().await.expect("pushing");
        self.forget(docker, &image).await;
        image
    }

    async fn forget(&self, docker: &Docker, image: &str) {
        let force = RemoveImageOptionsBuilder::new().force(true).build();
        docker
            .remove_image(image, Some(force), None)
            .await
            .expect("removing an image");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn progress(agent: &Agent) -> Vec<String> {
    let events = agent.events.recorded().events;
    let progress = events.into_iter().filter_map(|event| match event {
        Event::Starting { progress } => Some(progress),
        _ => None,
    });
    progress.collect()
}

async fn runs(agent: &Agent) {
    agent
        .events
        .wait_for("running", |recorded| {
            matches!(recorded.events.last(), Some(Event::Running { .. }))
        })
        .await;
}

async fn missing_image() {
    let world = World::shared().await;
    let registry = Registry::start().await;
    let image = registry.offer(&world.docker, "missing").await;
    let agent = world
        .start(&["sleep", "600"], json!({"image": image}))
        .await;
    runs(&agent).await;
    let progress = progress(&agent);
    assert_eq!(progress.first().map(String::as_str), Some("pulling image"));
    let percents: Vec<u8> = progress
        .iter()
        .filter_map(|progress| {
            progress
                .strip_prefix("pulling image: ")?
                .strip_suffix('%')?
                .parse()
                .ok()
        })
        .collect();
    assert!(!percents.is_empty() && percents.is_sorted(), "{progress:?}");
    assert_eq!(
        progress.last().map(String::as_str),
        Some("starting container")
    );
    agent.terminate().await;

    let again = world
        .start(&["sleep", "600"], json!({"image": image}))
        .await;
    assert_eq!(self::progress(&again), [] as [&str; 0], "it is there now");
    again.terminate().await;
}

async fn one_for_many() {
    let world = World::shared().await;
    let registry = Registry::start().await;
    let image = registry.offer(&world.docker, "many").await;
    let options = json!({"image": image});
    let (one, two, gone) = tokio::join!(
        world.start(&["sleep", "600"], options.clone()),
        world.start(&["sleep", "600"], options.clone()),
        world.start(&["sleep", "600"], options.clone()),
    );
    gone.terminate().await;
    assert!(matches!(gone.end().await, Event::Exited { .. }));
    runs(&one).await;
    runs(&two).await;
    one.terminate().await;
    two.terminate().await;
    assert_eq!(world.backend.list().await.expect("listing"), []);
}

async fn always() {
    let world = World::shared().await;
    let registry = Registry::start().await;
    let image = registry.offer(&world.docker, "always").await;
    for _ in 0..2 {
        let options = json!({"image": image, "pull": "always"});
        let agent = world.start(&["sleep", "600"], options).await;
        runs(&agent).await;
        assert_eq!(
            progress(&agent).first().map(String::as_str),
            Some("pulling image")
        );
        agent.terminate().await;
    }
}

async fn no_such_image() {
    let world = World::shared().await;
    let registry = Registry::start().await;
    let image = format!("{}/absent", registry.address);
    failed_pull(&world, &image).await;
}

async fn no_such_registry() {
    let world = World::shared().await;
    // Nobody listens there, and it is the engine's own loopback interface.
    failed_pull(&world, "127.0.0.1:1/absent").await;
}

async fn failed_pull(world: &World, image: &str) {
    let agent = world
        .start(&["sleep", "600"], json!({"image": image}))
        .await;
    let status = agent.exit().await;
    assert_eq!(status.reason.as_deref(), Some("image-pull-failed"));
    let log = agent.log(LogQuery::default()).await;
    assert_eq!(log.len(), 1);
    assert!(log[0].line.contains(image), "{log:?}");
    assert!(log[0].ts.is_some() && log[0].stream == Some(LogStream::Stderr));
    agent.terminate().await;
    assert_eq!(world.containers(&agent.id).await, [] as [&str; 0]);
}

/// A registry that takes connections and never answers.
async fn one_that_hangs() {
    let world = World::shared().await;
    let silent = inside(&namespace_of(&shared_engine()), || {
        TcpListener::bind("127.0.0.1:0").expect("a port")
    });
    let image = format!("{}/hangs", silent.local_addr().expect("its address"));
    let agent = world
        .start(&["sleep", "600"], json!({"image": image}))
        .await;
    assert_eq!(progress(&agent), ["pulling image"]);
    assert_eq!(agent.log(LogQuery::default()).await, []);
    agent.terminate().await;
    assert_eq!(agent.exit().await.reason.as_deref(), Some("cancelled"));
    agent.terminate().await;
}
