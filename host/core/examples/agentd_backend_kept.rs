//! A persistent backend for the tests of the services. Its sessions run nothing: each is a file with
//! its label in the folder `kept` of the state directory, and ends when a file `<id>.exit` with a
//! code appears beside it. Other files there, which tests make and remove, say what fails:
//! `unreachable` (its sessions cannot be listed and taken over), `refuses` and `hangs` (nothing can be started),
//! `resists` (nothing can be taken over), `silent` (whoever takes something over gets no answer, and a
//! file `asked` appears) and `stays` (nothing can be ended). With `KEPT_QUIET` none ends by such a file: thousands
//! cost nothing then.

use std::fs;
use std::path::PathBuf;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio;

const LOOK_AGAIN: Duration = Duration::from_millis(10);

#[derive(Clone)]
struct Folder(PathBuf);

impl Folder {
    fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }
}

struct Kept(Folder);

struct KeptSession {
    folder: Folder,
    id: String,
    events: SessionEvents,
}

impl Kept {
    fn session(&self, id: String, events: SessionEvents) -> KeptSession {
        events.running(None);
        let exit = self.0.0.join(format!("{id}.exit"));
        let reports = events.clone();
        tokio::spawn(async move {
            if std::env::var_os("KEPT_QUIET").is_some() {
                return;
            }
            loop {
                if let Ok(text) = fs::read_to_string(&exit)
                    && let Ok(code) = text.trim().parse()
                {
                    return reports.exited(ExitStatus::code(code));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
        KeptSession {
            folder: self.0.clone(),
            id,
            events,
        }
    }
}

impl Backend for Kept {
    type Session = KeptSession;

    fn manifest() -> Manifest {
        Manifest::new("kept", env!("CARGO_PKG_VERSION"))
            .persistent()
            .runs_elsewhere()
    }

    async fn connect(_host: Host, config: Config) -> Result<Self> {
        let folder = config.state_dir.join("kept");
        fs::create_dir_all(&folder)?;
        Ok(Kept(Folder(folder)))
    }

    async fn start(&self, spec: SessionSpec, events: SessionEvents) -> Result<KeptSession> {
        if self.0.has("refuses") {
            return Err(Error::refused("it starts nothing now"));
        }
        while self.0.has("hangs") {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        fs::write(self.0.0.join(&spec.id), &spec.label)?;
        Ok(self.session(spec.id, events))
    }

    async fn list(&self) -> Result<Vec<Found>> {
        if self.0.has("unreachable") {
            return Err(Error::unavailable("it is out of reach"));
        }
        let mut all = Vec::new();
        for entry in fs::read_dir(&self.0.0)? {
            let entry = entry?;
            let id = entry.file_name().to_string_lossy().into_owned();
            if id.len() == 36 {
                let label = fs::read_to_string(entry.path())?;
                all.push(Found { id, label });
            }
        }
        Ok(all)
    }

    async fn adopt(&self, id: String, events: SessionEvents) -> Result<KeptSession> {
        if self.0.has("unreachable") {
            return Err(Error::unavailable("it is out of reach"));
        }
        if !self.0.has(&id) {
            return Err(Error::gone("there is no such session"));
        }
        if self.0.has("resists") {
            return Err(Error::internal("it cannot be taken over now"));
        }
        while self.0.has("silent") {
            fs::write(self.0.0.join("asked"), "")?;
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(self.session(id, events))
    }
}

impl Session for KeptSession {
    async fn terminate(&self, _grace: Duration) -> Result<()> {
        if self.folder.has("stays") {
            return Err(Error::internal("it cannot be ended now"));
        }
        let _ = fs::remove_file(self.folder.0.join(&self.id));
        let _ = fs::remove_file(self.folder.0.join(format!("{}.exit", self.id)));
        self.events.exited(ExitStatus::signal(15));
        Ok(())
    }
}

export_backend!(Kept);
