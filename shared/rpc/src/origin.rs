//! [`Origin`]: where a call comes from, as far as it can be believed; what is throttled by place is counted by it.
//!
//! Believed are, in this order: a service that says where its user's call came from (`bursar-client-address`; what is not one
//! address there is refused), the headers of proxies that the operator trusts ([`TrustedProxies`]), and the socket. A header of
//! anybody else says nothing: whoever could choose the place that is counted could be in a new one for each attempt, or in the
//! victim's.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use bursar_id::ServiceAccountId;
use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tonic::Request;

use crate::Problem;
use crate::unstated::Unheard;

/// The header in which a service says where its user's call came from.
pub const CLIENT_ADDRESS: HeaderName = HeaderName::from_static("bursar-client-address");
/// The header to which each proxy adds the address that called it.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Addresses of one call's way that are looked at; more are no way that anybody configured.
const MAX_HOPS: usize = 32;

/// Where a call comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// From this network address.
    Address(IpAddr),
    /// From a service that does not say where its own caller is: everybody behind it looks alike.
    Service(ServiceAccountId),
    /// From this process.
    Local,
}

impl Origin {
    /// Where a request comes from, as the stack has found; without the stack, from this process. Ask where places are counted, and
    /// nowhere else: people who are counted for the place of a service are told of.
    pub fn of<T>(request: &Request<T>) -> Self {
        if let Some(unheard) = request.extensions().get::<Unheard>() {
            unheard.note();
        }
        request.extensions().get::<Self>().copied().unwrap_or(Self::Local)
    }

    /// From an address, in the form that it is counted by.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }

    /// The network that a place is in.
    pub fn site(self) -> Site {
        Site(match self {
            Self::Address(address) => Self::Address(first_of_network(address)),
            other @ (Self::Service(_) | Self::Local) => other,
        })
    }

    /// The place within its site, in the form that it is counted by; `None` where the site has no other place.
    pub fn within_site(self) -> Option<Self> {
        match self {
            Self::Address(address) => match address.to_canonical() {
                IpAddr::V6(ip) if has_places(ip) => Some(Self::Address(counted(address))),
                IpAddr::V6(_) | IpAddr::V4(_) => None,
            },
            Self::Service(_) | Self::Local => None,
        }
    }
}

/// The network of a place, for what must not be had once more for each place that somebody can have: whoever has an IPv6
/// network of their own has up to a /48 of 65,536 places. Hosters and mobile carriers put several customers into one, who then
/// share what is counted by it: it is either what nobody needs often, or bounded wider than for one place, or each place has a
/// share of it ([`crate::has_room_within`]). Everything else is a network of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site(Origin);

impl Site {
    /// It as an origin: the first of its places.
    pub(crate) const fn first(self) -> Origin {
        self.0
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Origin::Address(IpAddr::V6(ip)) = self.0 {
            let [first, second, third, ..] = ip.segments();
            if has_places(ip) {
                return write!(f, "address:{first:x}:{second:x}:{third:x}::/48");
            }
        }
        fmt::Display::fmt(&self.0, f)
    }
}

/// The place that is counted: whoever has one IPv6 address has a /64 of them.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(ip) => match counted(*ip) {
                IpAddr::V4(ip) => write!(f, "address:{ip}"),
                IpAddr::V6(ip) => {
                    let [first, second, third, fourth, ..] = ip.segments();
                    write!(f, "address:{first:x}:{second:x}:{third:x}:{fourth:x}::/64")
                }
            },
            Self::Service(account) => write!(f, "service:{account}"),
            Self::Local => f.write_str("local"),
        }
    }
}

/// The address that stands for all that belong to whoever has this one: of IPv6 the first of its /64.
pub(crate) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => {
            let [first, second, third, fourth, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(first, second, third, fourth, 0, 0, 0, 0))
        }
    }
}

/// Whether an address belongs to a network of many places. What cannot come from outside (RFC 4193, 4291) is counted as any place
/// is: all machines of a cluster usually have one /48, and a /64 each.
fn has_places(ip: Ipv6Addr) -> bool {
    !ip.is_unique_local() && !ip.is_unicast_link_local()
}

/// The address that stands for all of its network: of IPv6 the first of its /48.
fn first_of_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) if has_places(ip) => {
            let [first, second, third, ..] = ip.segments();
            IpAddr::V6(Ipv6Addr::new(first, second, third, 0, 0, 0, 0, 0))
        }
        IpAddr::V6(_) | IpAddr::V4(_) => counted(address),
    }
}

/// Addresses that belong together: `10.0.0.0/8`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        // As it was written: the bits of a mapped network count from the front of the mapped address.
        let wide = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => (ip.to_ipv6_mapped(), 96),
            IpAddr::V6(ip) => (ip, 0),
        };
        let ((own, offset), (other, _)) = (wide(self.address), wide(address));
        let mask = |ip: Ipv6Addr| u128::from(ip).checked_shr(128 - offset - u32::from(self.bits)).unwrap_or(0);
        mask(own) == mask(other)
    }
}

impl FromStr for Network {
    type Err = TrustedProxiesError;
    fn from_str(text: &str) -> Result<Self, TrustedProxiesError> {
        let wrong = || TrustedProxiesError(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits <= most { Ok(Self { address, bits }) } else { Err(wrong()) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// The proxies whose word on where a call came from is believed: addresses and networks, separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[Network]>);

/// A text that names no address and no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address and no network, such as 10.0.0.0/8")]
pub struct TrustedProxiesError(String);

impl TrustedProxies {
    /// Whether this address is one of theirs.
    pub fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// Who called the first proxy that is trusted, on the way back from `peer`: each proxy appends its own caller, so
    /// the last addresses are those that somebody trustworthy wrote.
    fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.contain(peer) {
            return peer;
        }
        // Bytes, since one that is no text must not hide what a proxy wrote behind it.
        let lines = headers.get_all(FORWARDED_FOR).iter().map(http::HeaderValue::as_bytes);
        let hops: Vec<&[u8]> = lines.flat_map(|line| line.split(|byte| *byte == b',')).collect();
        let mut client = peer;
        for hop in hops.iter().rev().take(MAX_HOPS) {
            let hop = std::str::from_utf8(hop).ok().and_then(|text| address_of(text.trim()));
            let Some(address) = hop.filter(|_| self.contain(client)) else { break };
            client = address;
        }
        client
    }
}

/// An address as proxies write it, with or without a port.
fn address_of(text: &str) -> Option<IpAddr> {
    let plain = text.parse().ok();
    let address = plain.or_else(|| text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip()));
    address.or_else(|| text.strip_prefix('[')?.strip_suffix(']')?.parse().ok())
}

impl FromStr for TrustedProxies {
    type Err = TrustedProxiesError;
    fn from_str(text: &str) -> Result<Self, TrustedProxiesError> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        Ok(Self(parts.map(str::parse).collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&parts.join(", "))
    }
}

impl Serialize for TrustedProxies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TrustedProxies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Where a call comes from: `service` is the service that makes it, if one does, `peer` the socket's other end. A service that
/// says it unreadably is refused.
pub(crate) fn find(
    service: Option<ServiceAccountId>,
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted: &TrustedProxies,
) -> Result<Origin, Problem> {
    if let Some(service) = service {
        return Ok(stated(headers)?.map_or(Origin::Service(service), Origin::at));
    }
    Ok(peer.map_or(Origin::Local, |peer| Origin::at(trusted.client(peer, headers))))
}

/// An IPv6 address without the zone of the machine that saw it (RFC 4007, section 11), as runtimes print it for addresses of a link.
fn without_zone(text: &str) -> &str {
    match text.split_once('%') {
        Some((address, zone)) if address.contains(':') && !zone.is_empty() => address,
        _ => text,
    }
}

/// Where a service says that its caller is; `None` where it says nothing, or in an empty line. What cannot be read is not taken for
/// nothing: all people behind the service would be one place, unnoticed.
fn stated(headers: &HeaderMap) -> Result<Option<IpAddr>, Problem> {
    let mut lines = headers.get_all(CLIENT_ADDRESS).iter();
    let address = match (lines.next(), lines.next()) {
        (None, _) => return Ok(None),
        (Some(line), None) if line.is_empty() => return Ok(None),
        (Some(line), None) => line.to_str().ok().and_then(|text| address_of(without_zone(text.trim()))),
        (Some(_), Some(_)) => None,
    };
    // What it says instead may be anybody's address, and is not repeated.
    let unreadable = || Problem::invalid_field(CLIENT_ADDRESS.as_str(), "must be one IP address, in one line");
    address.map(Some).ok_or_else(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(*name, value.parse().expect("a header"));
        }
        headers
    }

    fn found(
        service: Option<ServiceAccountId>,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
        trusted: &TrustedProxies,
    ) -> Origin {
        find(service, peer, headers, trusted).expect("readable")
    }

    #[test]
    fn a_mapped_network_trusts_no_more_than_itself() {
        let trusted: TrustedProxies = "::ffff:10.0.0.0/104".parse().expect("a network");
        let is_trusted = |text: &str| trusted.contain(text.parse().expect("an address"));
        assert!(is_trusted("10.1.2.3") && is_trusted("::ffff:10.1.2.3"));
        assert!(!is_trusted("192.0.2.1") && !is_trusted("::ffff:192.0.2.1") && !is_trusted("2001:db8::1"));
    }

    #[test]
    fn a_byte_that_is_no_text_hides_nothing_that_a_proxy_wrote() {
        let proxy: IpAddr = "10.0.0.1".parse().expect("an address");
        let trusted: TrustedProxies = "10.0.0.0/8".parse().expect("a network");
        let mut headers = headers(&[("x-forwarded-for", "203.0.113.99")]);
        let line = http::HeaderValue::from_bytes(b"\xe9, 198.51.100.7").expect("a header");
        headers.append(FORWARDED_FOR, line);
        let client = trusted.client(proxy, &headers);
        assert_eq!(client, "198.51.100.7".parse::<IpAddr>().expect("an address"));
    }

    #[test]
    fn fuzz_ways() {
        let trusted: TrustedProxies = "10.0.0.0/8, 2001:db8::1".parse().expect("proxies");
        let samples =
            ["198.51.100.9", "203.0.113.5, 10.9.9.9:80", "[2001:db8:7::8]:80, ::ffff:10.1.2.3", "10.0.0.0/8, ::1"];
        bursar_fuzz::fuzz("ways", &samples, |bytes| {
            let Ok(line) = http::HeaderValue::from_bytes(bytes) else { return };
            let headers = HeaderMap::from_iter([(FORWARDED_FOR, line.clone()), (CLIENT_ADDRESS, line)]);
            let stranger = found(None, Some(ip("192.0.2.1")), &headers, &trusted);
            assert_eq!(stranger, Origin::at(ip("192.0.2.1")), "a stranger said where it is");
            let behind = found(None, Some(ip("10.1.2.3")), &headers, &trusted);
            assert!(matches!(behind, Origin::Address(_)), "{behind}");
            if let Ok(stated) = find(Some(ServiceAccountId::BILLING), None, &headers, &trusted) {
                assert!(bytes.is_empty() || matches!(stated, Origin::Address(_)), "taken for nothing: {stated}");
            }
            if let Ok(proxies) = String::from_utf8_lossy(bytes).parse::<TrustedProxies>() {
                assert_eq!(proxies.to_string().parse(), Ok(proxies));
            }
        });
    }

    #[test]
    fn places_are_told_apart() {
        let cases = [
            ("192.0.2.7", "address:192.0.2.7"),
            ("::ffff:192.0.2.7", "address:192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "address:2001:db8:1:2::/64"),
            ("2001:db8:1:2::9", "address:2001:db8:1:2::/64"),
        ];
        for (text, expected) in cases {
            assert_eq!(Origin::at(ip(text)).to_string(), expected);
        }
        assert_eq!(Origin::Local.to_string(), "local");
    }

    #[test]
    fn places_of_one_network_are_one_site() {
        let cases = [
            ("192.0.2.7", "address:192.0.2.7"),
            ("::ffff:192.0.2.7", "address:192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "address:2001:db8:1::/48"),
            ("2001:db8:1:ffff::9", "address:2001:db8:1::/48"),
            ("2001:db8:2:2::9", "address:2001:db8:2::/48"),
            ("fd00:1:2:3::4", "address:fd00:1:2:3::/64"),
            ("fe80::1:2:3:4", "address:fe80:0:0:0::/64"),
        ];
        for (text, expected) in cases {
            assert_eq!(Origin::at(ip(text)).site().to_string(), expected);
            assert_eq!(Origin::Address(ip(text)).site().to_string(), expected, "however it was written");
        }
        let site = |text: &str| Origin::at(ip(text)).site();
        assert_eq!(site("2001:db8:1:2::3"), site("2001:db8:1:ffff::9"), "it is counted as one");
        assert_ne!(site("2001:db8:1:2::3"), site("2001:db8:2:2::3"));
        assert_ne!(site("192.0.2.7"), site("192.0.2.8"));
        assert_ne!(site("fd00:1:2:3::4"), site("fd00:1:2:4::4"), "two machines of one cluster");
        let within = |text: &str| Origin::at(ip(text)).within_site().map(|place| place.to_string());
        assert_eq!(within("2001:db8:1:2::3").as_deref(), Some("address:2001:db8:1:2::/64"));
        for alone in ["192.0.2.7", "::ffff:192.0.2.7", "fd00:1:2:3::4", "fe80::1"] {
            assert_eq!(within(alone), None, "{alone} has its site to itself");
        }
        let service = Origin::Service(ServiceAccountId::BILLING);
        assert_eq!((service.within_site(), Origin::Local.within_site()), (None, None));
        assert_eq!(service.site().to_string(), service.to_string());
        assert_eq!(Origin::Local.site().to_string(), "local");
    }

    #[test]
    fn only_who_is_trusted_says_where_a_call_came_from() {
        let trusted: TrustedProxies = "10.0.0.0/8, 2001:db8::1".parse().expect("proxies");
        let way = |peer: &str, forwarded: &[&str]| {
            let values: Vec<_> = forwarded.iter().map(|value| ("x-forwarded-for", *value)).collect();
            found(None, Some(ip(peer)), &headers(&values), &trusted)
        };
        let at = |text: &str| Origin::at(ip(text));
        assert_eq!(way("192.0.2.1", &["198.51.100.9"]), at("192.0.2.1"), "a stranger's header");
        assert_eq!(way("10.1.2.3", &[]), at("10.1.2.3"), "a proxy's own call");
        assert_eq!(way("10.1.2.3", &["198.51.100.9"]), at("198.51.100.9"));
        assert_eq!(way("::ffff:10.1.2.3", &["198.51.100.9:4711"]), at("198.51.100.9"));
        assert_eq!(way("10.1.2.3", &["203.0.113.5, 198.51.100.9, 10.9.9.9"]), at("198.51.100.9"), "two proxies");
        assert_eq!(way("10.1.2.3", &["203.0.113.5", "198.51.100.9"]), at("198.51.100.9"), "two headers");
        assert_eq!(way("10.1.2.3", &["198.51.100.9, nonsense"]), at("10.1.2.3"), "what cannot be read ends the way");
        assert_eq!(way("2001:db8::1", &["[2001:db8:7::8]:80"]), at("2001:db8:7::8"));
        assert_eq!(way("2001:db8::2", &["198.51.100.9"]), at("2001:db8::2"), "the next address is another one");
    }

    #[test]
    fn a_service_states_its_callers_address_and_nobody_else_does() {
        let stated = headers(&[("bursar-client-address", "198.51.100.9")]);
        let (none, service) = (TrustedProxies::default(), ServiceAccountId::BILLING);
        let peer = Some(ip("10.1.2.3"));
        assert_eq!(found(Some(service), peer, &stated, &none), Origin::at(ip("198.51.100.9")));
        assert_eq!(found(Some(service), peer, &HeaderMap::new(), &none), Origin::Service(service));
        assert_eq!(found(None, peer, &stated, &none), Origin::at(ip("10.1.2.3")));
        assert_eq!(found(None, None, &stated, &none), Origin::Local);
    }

    #[test]
    fn what_a_service_states_is_one_address_in_one_line() {
        const NAME: &str = "bursar-client-address";
        let (none, service) = (TrustedProxies::default(), ServiceAccountId::BILLING);
        let peer = Some(ip("10.1.2.3"));
        let one =
            ["198.51.100.9", " 198.51.100.9 ", "198.51.100.9:4711", "[2001:db8::1]", "2001:db8::1", "fe80::1%eth0"];
        for text in one {
            let origin = found(Some(service), peer, &headers(&[(NAME, text)]), &none);
            assert!(matches!(origin, Origin::Address(_)), "{text}: {origin}");
        }
        let silent = found(Some(service), peer, &headers(&[(NAME, "")]), &none);
        assert_eq!(silent, Origin::Service(service), "an empty line says nothing");
        let unreadable: [&[&str]; 8] = [
            &["unknown"],
            &["203.0.113.5, 10.0.0.1"],
            &["203.0.113.5%eth0"],
            &["fe80::1%"],
            &["", "203.0.113.5"],
            &["203.0.113.5", "198.51.100.9"],
            &["203.0.113.5", "203.0.113.5"],
            &["203.0.113.5", "unknown"],
        ];
        for lines in unreadable {
            let headers = headers(&lines.iter().map(|line| (NAME, *line)).collect::<Vec<_>>());
            let problem = find(Some(service), peer, &headers, &none).expect_err("refused");
            assert_eq!(problem.code(), tonic::Code::InvalidArgument, "{lines:?}");
            assert_eq!(problem.reason(), crate::problem::reason::INVALID_FIELDS, "{lines:?}");
            let fields: Vec<_> = problem.fields().iter().map(|(field, _)| field.as_str()).collect();
            assert_eq!(fields, [NAME], "{lines:?}");
            let told = format!("{problem:?}");
            assert!(
                lines.iter().all(|line| line.is_empty() || !told.contains(line)),
                "it repeats what was sent: {told}"
            );
            assert_eq!(
                found(None, peer, &headers, &none),
                Origin::at(ip("10.1.2.3")),
                "nobody else says anything by it"
            );
        }
    }

    #[test]
    fn proxies_are_read_and_written() {
        let proxies: TrustedProxies = " 10.0.0.0/8,192.0.2.1 , ::1/128 ".parse().expect("proxies");
        assert_eq!(proxies.to_string(), "10.0.0.0/8, 192.0.2.1/32, ::1/128");
        assert_eq!("".parse(), Ok(TrustedProxies::default()));
        for wrong in ["10.0.0.0/33", "::/129", "example.com", "10.0.0.0/", "10.0.0.0/8;::1"] {
            assert!(wrong.parse::<TrustedProxies>().is_err(), "{wrong}");
        }
        let everything: TrustedProxies = "0.0.0.0/0".parse().expect("proxies");
        assert!(everything.contain(ip("203.0.113.5")) && !everything.contain(ip("2001:db8::1")));
    }
}
