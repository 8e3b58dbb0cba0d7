//! What is done to a container of this engine.

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::io::AsyncWriteExt;
use agentd_plugin_api::tokio::time::timeout;
use bollard::models::ContainerState;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, ResizeContainerTTYOptionsBuilder, StopContainerOptionsBuilder,
};
use futures_util::StreamExt;
use std::io;

use crate::agent::is_alive;
use crate::engine::{Engine, status};

/// How long the engine may take to answer a stop, on top of the grace.
const STOP_PATIENCE: Duration = Duration::from_secs(60);

/// How long an agent may leave its input unread before a prompt counts as delivered.
const INPUT_PATIENCE: Duration = Duration::from_secs(30);

impl Engine {
    /// Sets the size of a container's terminal.
    pub async fn resize(&self, container: &str, size: Size) -> Result<()> {
        let options = ResizeContainerTTYOptionsBuilder::new()
            .w(size.cols.into())
            .h(size.rows.into())
            .build();
        let resized = self.client().resize_container_tty(container, options);
        resized
            .await
            .map_err(|error| self.error("resizing the terminal", error))
    }

    /// Writes a prompt to a container's standard input. One at a time.
    pub async fn type_into(
        &self,
        container: &str,
        text: &str,
        submit: bool,
        tty: bool,
    ) -> Result<()> {
        let options = AttachContainerOptionsBuilder::new()
            .stream(true)
            .stdin(true)
            .build();
        let attached = self.client().attach_container(container, Some(options));
        let mut attached = attached
            .await
            .map_err(|error| self.error("attaching to the container", error))?;
        let mut input = text.as_bytes().to_vec();
        if submit {
            // A terminal's Enter key is a carriage return.
            input.push(if tty { b'\r' } else { b'\n' });
        }
        let failed = |error| Error::internal(format!("writing to the container: {error}"));
        let mut rest = input.as_slice();
        while !rest.is_empty() {
            let written = timeout(INPUT_PATIENCE, attached.input.write(rest)).await;
            let unread = |_| {
                let seconds = INPUT_PATIENCE.as_secs();
                let why =
                    format!("the agent has read nothing of its standard input for {seconds} s");
                Error::unavailable(why).hint("what it has taken of the prompt stays typed")
            };
            match written.map_err(unread)?.map_err(failed)? {
                0 => return Err(failed(io::ErrorKind::WriteZero.into())),
                length => rest = &rest[length..],
            }
        }
        attached.input.shutdown().await.map_err(failed)?;
        // The engine closes the connection once the container has taken all of it. It reads to the
        // end without us too: waiting only holds up whoever types faster than the agent reads.
        let taken = async { while attached.output.next().await.is_some() {} };
        let _ = timeout(INPUT_PATIENCE, taken).await;
        Ok(())
    }

    /// Stops a container in this state, if it is alive: by SIGTERM, and by force after the grace.
    pub async fn stop(
        &self,
        container: &str,
        state: &ContainerState,
        grace: Duration,
    ) -> Result<()> {
        if state.paused.unwrap_or(false) {
            // A frozen process cannot die.
            let unpaused = self.client().unpause_container(container).await;
            unpaused.map_err(|error| self.error("unpausing the container", error))?;
        }
        if !is_alive(state) {
            return Ok(());
        }
        // The engine knows whole seconds only.
        let seconds = grace.as_secs() + u64::from(grace.subsec_nanos() > 0);
        let seconds = i32::try_from(seconds).unwrap_or(i32::MAX);
        let options = StopContainerOptionsBuilder::new().t(seconds).build();
        let client = self.client().clone().with_timeout(grace + STOP_PATIENCE);
        match client.stop_container(container, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if matches!(status(&error), Some(304 | 404)) => Ok(()),
            Err(error) => Err(self.error("stopping the container", error)),
        }
    }
}
