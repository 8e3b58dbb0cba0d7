use crate::Result;

/// The bare tool of a backend, and the place where it and the backend work.
pub trait Bare {
    /// The name in `AGENTD_BACKEND`.
    const BACKEND: &'static str;
    /// What the tool is called.
    const TOOL: &'static str;
    /// How often each is measured.
    const ROUNDS: usize;
    /// How many times as long the backend may take.
    const MOST: f64;
    /// How many agents are asked for at once.
    const CROWD: usize = 50;
    /// Whether they outlive the service.
    const OUTLIVES: bool;

    /// The settings with which the service works in the same place.
    fn variables(&self) -> Vec<(&'static str, String)>;

    /// Runs the program under a name, and is back when it runs.
    fn create(&self, name: &str, directory: &str, program: &[String]) -> Result;

    /// Ends what was created under the name.
    fn end(&self, name: &str) -> Result;
}
