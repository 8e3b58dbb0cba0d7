/// One of the two services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Wrap,
    Orchestrator,
}

impl Service {
    /// The program that has to run.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Service::Wrap => "agentd-wrap",
            Service::Orchestrator => "agentd-orchestrator",
        }
    }

    /// The noun on our command line.
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Service::Wrap => "wrap",
            Service::Orchestrator => "orchestrator",
        }
    }

    pub(crate) fn url_variable(self) -> &'static str {
        match self {
            Service::Wrap => "AGENTD_WRAP_SERVICE_URL",
            Service::Orchestrator => "AGENTD_ORCHESTRATOR_SERVICE_URL",
        }
    }

    pub(crate) fn default_url(self) -> &'static str {
        match self {
            Service::Wrap => "http://localhost:17005",
            Service::Orchestrator => "http://localhost:17006",
        }
    }
}
