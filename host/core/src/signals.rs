use std::io;
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::process_end;
use crate::start_error::ExitCode;

/// From a signal on, the process lives no longer than this.
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(11_900);

/// Ready at the first SIGINT or SIGTERM. The process is ended by force when it is still there
/// [`SHUTDOWN_LIMIT`] later.
///
/// The signals are watched on a thread with a runtime of its own: a library that blocks the threads
/// it is called on could stop every other one.
pub fn shutdown_signal() -> io::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        )
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
            });
            // The service may have ended by itself meanwhile.
            let _ = sender.send(());
            thread::sleep(SHUTDOWN_LIMIT);
            // Not through the log: while a library blocks in the dynamic linker, every thread waits
            // that touches a thread-local value for the first time.
            let message = b"the backend holds up the shutdown; the service ends without it\n";
            let _ = rustix::io::write(io::stderr(), message);
            process_end::at_once(ExitCode::Failure as u8);
        })?;
    Ok(receiver)
}
