use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio;
use agentd_plugin_api::tokio::sync::watch;
use agentd_plugin_api::tokio::time::timeout;
use bollard::models::CreateImageInfo;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::StreamExt;

use crate::options::PullPolicy;
use agentd_docker_engine::engine::{Engine, status};

/// A pull without progress for so long is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether `image` has to be pulled, or why it cannot be used.
pub(crate) async fn is_needed(engine: &Engine, image: &str, policy: PullPolicy) -> Result<bool> {
    if matches!(policy, PullPolicy::Always) {
        return Ok(true);
    }
    match engine.client().inspect_image(image).await {
        Ok(_) => Ok(false),
        Err(error) if status(&error) == Some(404) => match policy {
            PullPolicy::Never => Err(Error::refused(format!("the engine has no image `{image}`"))
                .hint("set `options.pull` to `missing`, or build or pull the image first")),
            _ => Ok(true),
        },
        Err(error) => Err(engine.error(&format!("looking for the image `{image}`"), error)),
    }
}

/// The pulls that are under way: one per image, however many agents wait for it.
#[derive(Default)]
pub(crate) struct Pulls(Mutex<HashMap<String, watch::Sender<Pull>>>);

#[derive(Clone)]
enum Pull {
    UnderWay(Option<u8>),
    Over(Result<()>),
}

impl Pulls {
    /// Pulls `image`, or waits for the pull that is under way. It goes on as long as anybody
    /// waits. `progress` gets percentages.
    pub(crate) async fn pull(
        self: &Arc<Self>,
        engine: &Engine,
        image: &str,
        progress: impl Fn(u8),
    ) -> Result<()> {
        let mut pull = self.join(engine, image);
        loop {
            match pull.borrow_and_update().clone() {
                Pull::UnderWay(percent) => percent.into_iter().for_each(&progress),
                Pull::Over(result) => return result,
            }
            if pull.changed().await.is_err() {
                return Err(Error::internal(format!("the pull of `{image}` broke off")));
            }
        }
    }

    fn join(self: &Arc<Self>, engine: &Engine, image: &str) -> watch::Receiver<Pull> {
        let mut under_way = self.lock();
        if let Some(pull) = under_way.get(image) {
            return pull.subscribe();
        }
        let (sender, receiver) = watch::channel(Pull::UnderWay(None));
        under_way.insert(image.to_owned(), sender.clone());
        let (pulls, engine, image) = (self.clone(), engine.clone(), image.to_owned());
        tokio::spawn(async move {
            let result = tokio::select! {
                result = fetch(&engine, &image, &sender) => Some(result),
                () = pulls.abandoned(&image, &sender) => None,
            };
            pulls.lock().remove(&image);
            if let Some(result) = result {
                sender.send_replace(Pull::Over(result));
            }
        });
        receiver
    }

    /// Done once nobody waits any more; from then on nobody can join either.
    async fn abandoned(&self, image: &str, pull: &watch::Sender<Pull>) {
        loop {
            pull.closed().await;
            let mut under_way = self.lock();
            if pull.receiver_count() == 0 {
                under_way.remove(image);
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Pull>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn fetch(engine: &Engine, image: &str, pull: &watch::Sender<Pull>) -> Result<()> {
    let doing = format!("pulling the image `{image}`");
    let options = CreateImageOptionsBuilder::new()
        .from_image(&with_tag(image))
        .build();
    let mut stream = engine.client().create_image(Some(options), None, None);
    let mut layers = Layers::default();
    loop {
        match timeout(PATIENCE, stream.next()).await {
            Ok(Some(Ok(info))) => {
                layers.take(&info);
                if let Some(percent) = layers.percent() {
                    pull.send_replace(Pull::UnderWay(Some(percent)));
                }
            }
            Ok(Some(Err(error))) => return Err(engine.error(&doing, error)),
            Ok(None) => return Ok(()),
            Err(_) => {
                return Err(Error::internal(format!(
                    "{doing}: nothing came for {} seconds",
                    PATIENCE.as_secs()
                )));
            }
        }
    }
}

/// Without a tag the engine would pull all tags there are.
fn with_tag(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains([':', '@']) {
        image.to_owned()
    } else {
        format!("{image}:latest")
    }
}

/// The bytes of an image's layers, as far as they are known.
#[derive(Default)]
struct Layers {
    /// What has come and, once its download has begun, the size.
    layers: HashMap<String, (u64, Option<u64>)>,
    shown: u8,
}

impl Layers {
    fn take(&mut self, info: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&info.id, info.status.as_deref()) else {
            return;
        };
        let bytes = |number: Option<i64>| number.and_then(|bytes| u64::try_from(bytes).ok());
        let detail = info.progress_detail.as_ref();
        let current = detail.and_then(|detail| bytes(detail.current));
        let total = detail
            .and_then(|detail| bytes(detail.total))
            .filter(|total| *total > 0);
        match status {
            "Pulling fs layer" | "Waiting" => {
                self.layers.entry(id.clone()).or_default();
            }
            "Downloading" => {
                let layer = self.layers.entry(id.clone()).or_default();
                layer.0 = current.unwrap_or(layer.0);
                layer.1 = total.or(layer.1);
            }
            "Verifying Checksum" | "Download complete" | "Extracting" | "Pull complete" => {
                let layer = self.layers.entry(id.clone()).or_default();
                layer.1 = layer.1.or(total).or(Some(layer.0.max(1)));
                layer.0 = layer.1.unwrap_or(layer.0);
            }
            _ => {}
        }
    }

    /// Layers whose size is not known yet count as an average one. Never falls, and is 99 until
    /// the engine has unpacked everything too.
    fn percent(&mut self) -> Option<u8> {
        let known: Vec<(u64, u64)> = self
            .layers
            .values()
            .filter_map(|(came, size)| Some((*came, (*size)?)))
            .collect();
        let count = u64::try_from(known.len()).ok().filter(|count| *count > 0)?;
        let size: u64 = known.iter().map(|(_, size)| size).sum();
        let came: u64 = known.iter().map(|(came, _)| came).sum();
        let all = u64::try_from(self.layers.len()).unwrap_or(count);
        let percent = u128::from(came) * 100 * u128::from(count)
            / (u128::from(size) * u128::from(all)).max(1);
        let percent = u8::try_from(percent).unwrap_or(99).min(99);
        self.shown = self.shown.max(percent);
        Some(self.shown)
    }
}

#[cfg(test)]
mod tests {
    use bollard::models::ProgressDetail;

    use super::*;

    #[test]
    fn an_image_without_a_tag_is_the_latest() {
        assert_eq!(with_tag("busybox"), "busybox:latest");
        assert_eq!(with_tag("localhost:5000/a/b"), "localhost:5000/a/b:latest");
        assert_eq!(with_tag("localhost:5000/a/b:1"), "localhost:5000/a/b:1");
        assert_eq!(with_tag("a@sha256:00"), "a@sha256:00");
    }

    #[test]
    fn progress_never_falls_and_counts_layers_of_unknown_size() {
        let mut layers = Layers::default();
        let mut tell = |id: &str, status: &str, detail: Option<(i64, i64)>| {
            layers.take(&CreateImageInfo {
                id: Some(id.to_owned()),
                status: Some(status.to_owned()),
                progress_detail: detail.map(|(current, total)| ProgressDetail {
                    current: Some(current),
                    total: Some(total),
                }),
                ..CreateImageInfo::default()
            });
            layers.percent()
        };
        assert_eq!(tell("a", "Pulling fs layer", None), None);
        assert_eq!(tell("b", "Pulling fs layer", None), None);
        assert_eq!(tell("a", "Downloading", Some((50, 100))), Some(25));
        assert_eq!(tell("b", "Downloading", Some((0, 300))), Some(25));
        assert_eq!(tell("b", "Downloading", Some((300, 300))), Some(87));
        assert_eq!(tell("a", "Pull complete", None), Some(99));
    }
}
