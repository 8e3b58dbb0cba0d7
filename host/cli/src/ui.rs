use std::process::{Command, ExitCode, Stdio};

use clap::Args;

use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::global::Global;
use crate::output::Output;
use crate::service::Service;

#[derive(Debug, Args)]
pub(crate) struct Ui {
    /// Open it in a browser, too
    #[arg(long)]
    open: bool,
}

impl Ui {
    pub(crate) async fn run(self, global: &Global, output: &mut Output) -> Outcome {
        let connection = Connection::new(Service::Orchestrator, global)?;
        let health = connection.client.health().await;
        let health = health.map_err(|error| connection.explain(error))?;
        let wanted = connection.service.program();
        if health.service != wanted {
            let message = format!("`{}` has no web UI", health.service);
            return Err(Failure::new(message).hint(format!(
                "start `{wanted}`, or name its address with `--url`; `agent wrap attach` shows a session of this one"
            )));
        }
        let code = connection
            .client
            .create_login_code()
            .await
            .map_err(|error| connection.explain(error))?;
        output.show(&code, |code| code.url.clone())?;
        if self.open {
            open(&code.url)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Hands an address to the desktop.
fn open(url: &str) -> Result<(), Failure> {
    let opener = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    let opened = Command::new(opener)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match opened {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failure::new(format!("`{opener}` failed: {status}"))),
        Err(error) => Err(Failure::new(format!("cannot run `{opener}`: {error}"))),
    }
    .map_err(|failure| failure.hint("open the link above yourself"))
}
