use warp::http::HeaderMap;
use warp::http::header::{HOST, ORIGIN};

use crate::{Error, ErrorKind, Result};

/// Under which names the service may be reached, and from which pages.
#[derive(Clone, Debug)]
pub struct Addresses {
    port: u16,
    /// `name:port`, or `name` for any port, in lower case.
    hosts: Vec<String>,
    /// `scheme://name[:port]`, in lower case: those that are not the service's own.
    origins: Vec<String>,
}

impl Addresses {
    /// The loopback names with `port`, and what the settings add.
    pub fn new(port: u16, hosts: &[String], origins: &[String]) -> Self {
        let mut all_hosts: Vec<String> = ["localhost", "127.0.0.1", "[::1]"]
            .map(|name| format!("{name}:{port}"))
            .into();
        // A variable that is set and empty is a list with one empty name.
        let named = |name: &&str| !name.is_empty();
        let hosts = hosts.iter().map(|host| host.trim()).filter(named);
        all_hosts.extend(hosts.map(str::to_ascii_lowercase));
        let origins = origins
            .iter()
            .map(|origin| origin.trim().trim_end_matches('/'))
            .filter(named)
            .map(str::to_ascii_lowercase)
            .collect();
        Addresses {
            port,
            hosts: all_hosts,
            origins,
        }
    }

    /// Every `Host` must be allowed and there must be one.
    pub fn check_host(&self, headers: &HeaderMap, authority: Option<&str>) -> Result<()> {
        let hosts = headers
            .get_all(HOST)
            .iter()
            .map(|host| host.to_str().unwrap_or_default());
        let mut asked: Vec<&str> = hosts.chain(authority).collect();
        asked.dedup();
        if asked.is_empty() || !asked.iter().all(|host| self.allows_host(host)) {
            return Err(
                forbidden("host-not-allowed", "this service has another name").hint(
                    "ask for it by a name in `AGENTD_ALLOWED_HOSTS`, or on its own machine by \
                 `localhost` and the port",
                ),
            );
        }
        Ok(())
    }

    /// Every `Origin` must be allowed. The service's own have the scheme that its client uses.
    pub fn check_origin(&self, headers: &HeaderMap, is_secure: bool) -> Result<()> {
        let mut origins = headers.get_all(ORIGIN).iter();
        if !origins.all(|origin| {
            origin
                .to_str()
                .is_ok_and(|origin| self.allows_origin(origin, is_secure))
        }) {
            return Err(
                forbidden("origin-not-allowed", "this page may not use the service")
                    .hint("pages that may are listed in `AGENTD_ALLOWED_ORIGINS`"),
            );
        }
        Ok(())
    }

    fn allows_host(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let name = without_port(&host);
        self.hosts
            .iter()
            .any(|allowed| *allowed == host || allowed == name)
    }

    fn allows_origin(&self, origin: &str, is_secure: bool) -> bool {
        let origin = origin.to_ascii_lowercase();
        let scheme = if is_secure { "https://" } else { "http://" };
        let is_own = |host: &str| {
            let mut hosts = self.hosts.iter();
            hosts.any(|own| *own == host || format!("{own}:{}", self.port) == host)
        };
        origin.strip_prefix(scheme).is_some_and(is_own) || self.origins.contains(&origin)
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Such requests are not answered at all.
pub(super) fn forbidden(code: &'static str, message: &str) -> Error {
    Error::new(ErrorKind::Forbidden, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use warp::http::HeaderValue;

    #[track_caller]
    fn check(host: Option<&str>, origin: Option<&str>, allowed: bool) {
        let addresses = Addresses::new(
            17006,
            &["Agents.example".to_owned()],
            &["https://agents.example/".to_owned()],
        );
        let mut headers = HeaderMap::new();
        for (name, value) in [(HOST, host), (ORIGIN, origin)] {
            if let Some(value) = value {
                headers.insert(name, HeaderValue::from_str(value).unwrap());
            }
        }
        assert_eq!(
            addresses.check_host(&headers, None).is_ok()
                && addresses.check_origin(&headers, false).is_ok(),
            allowed,
            "{host:?} {origin:?}"
        );
    }

    #[test]
    fn only_listed_hosts_are_allowed() {
        for host in [
            "localhost:17006",
            "127.0.0.1:17006",
            "[::1]:17006",
            "LOCALHOST:17006",
        ] {
            check(Some(host), None, true);
        }
        check(Some("agents.example"), None, true);
        check(Some("agents.example:8443"), None, true);
        let foreign = [
            "evil.example:17006",
            "localhost:17005",
            "localhost",
            "127.0.0.2:17006",
            "",
        ];
        for host in foreign {
            check(Some(host), None, false);
        }
        check(None, None, false);
    }

    #[test]
    fn only_listed_origins_are_allowed() {
        let host = Some("localhost:17006");
        check(host, Some("http://localhost:17006"), true);
        check(host, Some("https://agents.example"), true);
        let foreign = [
            "http://evil.example",
            "http://localhost:3000",
            "null",
            "https://localhost:17006",
        ];
        for origin in foreign {
            check(host, Some(origin), false);
        }
    }

    #[test]
    fn the_services_own_origins_have_the_scheme_of_the_connection() {
        let addresses = Addresses::new(17006, &["agents.example".to_owned()], &[]);
        let allows = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
            [false, true].map(|is_secure| addresses.check_origin(&headers, is_secure).is_ok())
        };
        for host in ["localhost:17006", "agents.example", "agents.example:17006"] {
            assert_eq!(allows(&format!("http://{host}")), [true, false], "{host}");
            assert_eq!(allows(&format!("https://{host}")), [false, true], "{host}");
        }
        assert_eq!(allows("https://agents.example:3000"), [false, false]);
    }

    #[test]
    fn a_second_host_is_checked_too() {
        let addresses = Addresses::new(17006, &[], &[]);
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("localhost:17006"));
        headers.append(HOST, HeaderValue::from_static("evil.example"));
        assert!(addresses.check_host(&headers, None).is_err());
    }
}
