use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::Result;

const PATIENCE: Duration = Duration::from_secs(60);

/// What every agent runs: a `sleep` whose argument nobody else's has, so that it can be counted
/// from outside, in containers too.
pub struct Program {
    seconds: String,
}

impl Program {
    /// A program unlike all before.
    pub fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Program {
            seconds: format!("1{number:02}{:07}", std::process::id()),
        }
    }

    /// The argv.
    pub fn argv(&self) -> Vec<String> {
        vec!["sleep".to_owned(), self.seconds.clone()]
    }

    /// Waits until so many run.
    pub async fn wait_for(&self, wanted: usize) -> Result {
        let end = Instant::now() + PATIENCE;
        loop {
            let running = count(&self.seconds)?;
            if running == wanted {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("{running} programs run instead of {wanted}").into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// How many that sleep so long run now (proc(5), `cmdline`).
fn count(sleep: &str) -> Result<usize> {
    let mut count = 0;
    for process in std::fs::read_dir("/proc")? {
        // Others may end while this looks. An `init` has more words before these two.
        let cmdline = std::fs::read(process?.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = cmdline.split(|byte| *byte == 0).collect();
        let ours = matches!(words[..], [program, seconds, b""]
            if program.ends_with(b"sleep") && seconds == sleep.as_bytes());
        count += usize::from(ours);
    }
    Ok(count)
}
