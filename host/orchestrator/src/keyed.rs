/// What is known of a request with that key.
#[derive(Debug)]
pub enum Known {
    /// Nothing.
    New,
    /// It was begun with this agent, by its id, and not answered.
    Begun(String),
    /// Its answer.
    Answered(Box<agentd_api::Agent>),
    /// The key was used for another request.
    Another,
}
