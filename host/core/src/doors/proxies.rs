use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use warp::http::header::FORWARDED;
use warp::http::{HeaderMap, HeaderName};

use crate::{Error, Result};

/// Addresses with a common beginning, such as `10.0.0.0/8` or one address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let alone = |_| text.parse::<IpAddr>().map(IpNet::from);
        let network = text
            .parse()
            .or_else(alone)
            .map_err(|_| format!("`{text}` is not an address or a network such as `10.0.0.0/8`"))?;
        Ok(Network(network))
    }
}

impl Network {
    fn has(self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

/// The proxies that are believed when they say for whom they ask.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Vec<Network>);

/// What a proxy says of a request that it passes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forwarded {
    /// Who asks. None if it does not say.
    pub from: Option<IpAddr>,
    /// Whether that one has a connection of TLS to the proxy. None if it does not say.
    pub is_secure: Option<bool>,
}

impl Proxies {
    /// Those that a setting lists. An error says which it cannot be.
    pub fn parse(texts: &[String]) -> Result<Self, String> {
        // A variable that is set and empty is a list with one empty name.
        let named = texts.iter().map(|text| text.trim());
        let named = named.filter(|text| !text.is_empty());
        named.map(str::parse).collect::<Result<_, _>>().map(Proxies)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one of them is at this address.
    pub fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.has(address))
    }

    /// What the headers of a request from one of them say.
    ///
    /// A proxy adds to one kind of headers and may pass the other kind on as a client has sent it. So
    /// where both are there, they have to say the same.
    pub fn read(&self, headers: &HeaderMap) -> Result<Forwarded> {
        let standard = self.standard(headers)?;
        let usual = self.usual(headers)?;
        match (standard, usual) {
            (Some(standard), Some(usual)) if standard != usual => Err(Error::invalid(
                "invalid-request",
                "`Forwarded` and `X-Forwarded-…` contradict each other",
            )
            .hint("let the proxy remove those that it does not set itself")),
            (standard, usual) => Ok(usual.or(standard).unwrap_or_default()),
        }
    }

    /// `X-Forwarded-For` and `X-Forwarded-Proto`.
    fn usual(&self, headers: &HeaderMap) -> Result<Option<Forwarded>> {
        let list = |name: &'static str| -> Result<Option<Vec<String>>> {
            let values = elements(headers, &HeaderName::from_static(name))?;
            Ok((!values.is_empty()).then_some(values))
        };
        let (hops, schemes) = (list("x-forwarded-for")?, list("x-forwarded-proto")?);
        if hops.is_none() && schemes.is_none() {
            return Ok(None);
        }
        let newest = schemes.as_ref().and_then(|schemes| schemes.last());
        Ok(Some(Forwarded {
            from: self.sender(hops.unwrap_or_default()),
            is_secure: newest.map(|scheme| scheme.eq_ignore_ascii_case("https")),
        }))
    }

    /// `Forwarded` (RFC 7239).
    fn standard(&self, headers: &HeaderMap) -> Result<Option<Forwarded>> {
        let hops = elements(headers, &FORWARDED)?;
        let parameter = |hop: &str, wanted: &str| {
            hop.split(';').find_map(|pair| {
                let (name, value) = pair.trim().split_once('=')?;
                let value = value.trim().trim_matches('"');
                name.eq_ignore_ascii_case(wanted).then(|| value.to_owned())
            })
        };
        let Some(newest) = hops.last() else {
            return Ok(None);
        };
        let scheme = parameter(newest, "proto");
        let senders = hops.iter().map(|hop| parameter(hop, "for"));
        Ok(Some(Forwarded {
            from: self.sender(senders.map(Option::unwrap_or_default).collect()),
            is_secure: scheme.map(|scheme| scheme.eq_ignore_ascii_case("https")),
        }))
    }

    /// The last one that is not a proxy itself: what comes before it may be anybody's invention.
    fn sender(&self, hops: Vec<String>) -> Option<IpAddr> {
        let mut sender = None;
        for hop in hops.iter().rev() {
            let address = address(hop)?;
            sender = Some(address);
            if !self.has(address) {
                break;
            }
        }
        sender
    }
}

/// What all lines of that name list. A line that cannot be read might be the one that a proxy has added,
/// so without it another one would count that a client has sent.
fn elements(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<String>> {
    let mut elements = Vec::new();
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| {
            let message = format!("the header `{name}` has bytes that are not ASCII");
            Error::invalid("invalid-request", message)
                .hint("let the proxy remove what clients send in its name")
        })?;
        let listed = value.split(',').map(str::trim);
        let listed = listed.filter(|element| !element.is_empty());
        elements.extend(listed.map(str::to_owned));
    }
    Ok(elements)
}

/// An address as proxies write it: perhaps with a port, and of IPv6 then in brackets.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => text.rsplit_once(':')?.0,
    };
    address.parse().ok()
}

#[cfg(test)]
mod tests {
    use warp::http::header::HeaderValue;

    use super::*;

    fn proxies() -> Proxies {
        let networks = ["127.0.0.1", "10.0.0.0/8", " 2001:db8::/32", ""];
        Proxies::parse(&networks.map(str::to_owned)).unwrap()
    }

    #[track_caller]
    fn read(lines: &[(&str, &str)]) -> Option<(Option<String>, Option<bool>)> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let read = proxies().read(&headers).ok()?;
        Some((read.from.map(|from| from.to_string()), read.is_secure))
    }

    #[test]
    fn networks_have_what_begins_like_them() {
        let has = |address: &str| proxies().has(address.parse().unwrap());
        for inside in [
            "127.0.0.1",
            "10.255.0.1",
            "::ffff:10.0.0.1",
            "2001:db8:1::2",
        ] {
            assert!(has(inside), "{inside}");
        }
        for outside in ["127.0.0.2", "11.0.0.1", "::1", "2001:db9::"] {
            assert!(!has(outside), "{outside}");
        }
        let all = Proxies::parse(&["::/0".to_owned()]).unwrap();
        assert!(all.has("2001:db9::".parse().unwrap()) && !all.has("10.0.0.1".parse().unwrap()));
        for wrong in [
            "",
            "proxy",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/-1",
            "10.0.0.0/",
        ] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_one_who_is_not_a_proxy_asks() {
        let from = |text: &str| read(&[("x-forwarded-for", text)]).unwrap().0;
        assert_eq!(from("192.0.2.1").unwrap(), "192.0.2.1");
        // What a client has sent itself comes first.
        assert_eq!(from("198.51.100.9, 192.0.2.1").unwrap(), "192.0.2.1");
        assert_eq!(from("192.0.2.1, 10.1.2.3").unwrap(), "192.0.2.1");
        assert_eq!(from("192.0.2.1:4711").unwrap(), "192.0.2.1");
        assert_eq!(from("[2001:db9::1]:80").unwrap(), "2001:db9::1");
        assert_eq!(from("10.1.2.3").unwrap(), "10.1.2.3");
        assert_eq!(from("192.0.2.1, unknown"), None);
        let lines = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-for", "192.0.2.2"),
        ];
        assert_eq!(read(&lines).unwrap().0.unwrap(), "192.0.2.2");
    }

    #[test]
    fn the_scheme_is_what_the_nearest_proxy_says() {
        assert_eq!(read(&[]), Some((None, None)));
        assert_eq!(
            read(&[("x-forwarded-proto", "HTTPS")]),
            Some((None, Some(true)))
        );
        let lines = [("x-forwarded-proto", "https, http")];
        assert_eq!(read(&lines), Some((None, Some(false))));
        let standard = [(
            "forwarded",
            "for=\"[2001:db9::1]:80\";proto=https;by=10.0.0.1",
        )];
        assert_eq!(
            read(&standard),
            Some((Some("2001:db9::1".to_owned()), Some(true)))
        );
        let standard = [("forwarded", "for=192.0.2.9, For=192.0.2.1; Proto=http")];
        assert_eq!(
            read(&standard),
            Some((Some("192.0.2.1".to_owned()), Some(false)))
        );
    }

    /// Attack: a client sends a forwarding header that cannot be read, to hide the proxy's. Then:
    /// nothing of it is believed.
    #[test]
    fn a_line_that_cannot_be_read_is_not_left_out() {
        for name in ["x-forwarded-for", "x-forwarded-proto", "forwarded"] {
            let lines = [(name, "192.0.2.1"), (name, "192.0.2.1, \u{e9}, 192.0.2.2")];
            assert_eq!(read(&lines), None, "{name}");
            assert!(read(&lines[..1]).is_some(), "{name}");
        }
    }

    /// Attack: a client sends the kind of forwarding header that the proxy does not set. Then: nothing
    /// of it is believed.
    #[test]
    fn both_kinds_say_the_same_or_nothing_is_believed() {
        let usual = [
            ("x-forwarded-for", "192.0.2.1"),
            ("x-forwarded-proto", "https"),
        ];
        let with = |standard| read(&[&usual[..], &[("forwarded", standard)]].concat());
        assert!(with("for=192.0.2.1;proto=https").is_some());
        assert_eq!(with("for=198.51.100.9;proto=https"), None);
        assert_eq!(with("for=192.0.2.1;proto=http"), None);
    }
}
