//! Places at which a test has the service killed, or its disk fail. Only a build with the feature `failpoints`, which
//! none but the tests have, does anything there.

/// Lists them once.
macro_rules! crash_points {
    ($($name:ident,)*) => {
        /// A place between two steps of an operation. What the last word says has been done there.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "their names say where they are")]
        pub enum CrashPoint {
            $($name,)*
        }

        impl CrashPoint {
            /// All of them.
            pub const ALL: &[CrashPoint] = &[$(CrashPoint::$name,)*];
        }
    };
}

crash_points! {
    CreateBegun,
    CreateRecorded,
    CreateStarted,
    CreateNoted,
    CreateFailed,
    CreateForgotten,
    StopBegun,
    StopWished,
    StopEnded,
    StopNoted,
    RestartBegun,
    RestartOldEnded,
    RestartRecorded,
    RestartStarted,
    RestartNoted,
    RestartFailed,
    RestartFailureNoted,
    DeleteBegun,
    DeleteWished,
    DeleteEnded,
    DeleteRemoved,
    DeleteFailed,
    DeleteKept,
    DeleteAbandoning,
    DeleteAbandoned,
    SessionEnded,
    OutputTaken,
    OutputKept,
    PolicyPlanned,
    PolicyDue,
    PolicyOldEnded,
    PolicyRecorded,
    PolicyStarted,
    PolicyNoted,
    PolicyFailed,
    PolicyFailureNoted,
    AdoptBegun,
    AdoptTaken,
    AdoptNoted,
    ReconcileBegun,
    ReconcileLooked,
    OverlookedFound,
    OverlookedPlanned,
    ReconcileListed,
    ReconcileExplained,
    ReconcileEnding,
    UnownedEnded,
    ReconcileEnded,
    PromptDue,
    PromptTaken,
    DatabaseWritten,
    DatabaseCommitted,
    DatabaseSynced,
}

impl CrashPoint {
    /// Does there what the variable `FAILPOINTS` says, as the crate `fail` reads it: `return` kills
    /// the process, `sleep(200)` holds it up.
    #[cfg(feature = "failpoints")]
    pub fn reached(self) {
        set_up();
        fail::fail_point!(&format!("{self:?}"), |_| {
            let _ = rustix::process::kill_process(
                rustix::process::getpid(),
                rustix::process::Signal::KILL,
            );
            loop {
                std::thread::park();
            }
        });
    }

    /// Nothing.
    #[cfg(not(feature = "failpoints"))]
    pub fn reached(self) {}
}

/// Whether a wait for the disk is to fail: while there is the file that `FAILPOINTS` names as in
/// `DiskFails=return(FILE)`.
#[cfg(feature = "failpoints")]
pub fn disk_fails() -> bool {
    set_up();
    fail::fail_point!("DiskFails", |file: Option<String>| {
        file.is_some_and(|file| std::path::Path::new(&file).exists())
    });
    false
}

/// Never.
#[cfg(not(feature = "failpoints"))]
pub fn disk_fails() -> bool {
    false
}

#[cfg(feature = "failpoints")]
fn set_up() {
    static SET_UP: std::sync::Once = std::sync::Once::new();
    // Dropped, it would forget the variable.
    SET_UP.call_once(|| std::mem::forget(fail::FailScenario::setup()));
}
