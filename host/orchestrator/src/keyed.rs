/// What is known of a request with that key.
#[derive(Debug)]
pub enum Known<A> {
    /// Nothing.
    New,
    /// It was begun with this agent, by its id, and not answered. A token is answered when it is begun.
    Begun(String),
    /// Its answer.
    Answered(Box<A>),
    /// The key was used for another request.
    Another,
}
