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

/// Ready at the first SIGINT or SIGTERM, or SIGHUP with `at_hangup`, unless the process was started to
/// ignore that, as `nohup` does it. The process is ended by force when it is still there
/// [`SHUTDOWN_LIMIT`] later.
///
/// The signals are watched on a thread with a runtime of its own: a library that blocks the threads
/// it is called on could stop every other one.
pub fn shutdown_signal(at_hangup: bool) -> io::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            match at_hangup && !is_hangup_ignored() {
                true => Some(signal(SignalKind::hangup())?),
                false => None,
            },
        )
    };
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    Some(()) = async { hangup.as_mut()?.recv().await } => {}
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

fn is_hangup_ignored() -> bool {
    // SAFETY: a `sigaction` may be all zeros, and with no new action this only reads the one there is.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        let read = libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut action);
        read == 0 && action.sa_sigaction == libc::SIG_IGN
    }
}
